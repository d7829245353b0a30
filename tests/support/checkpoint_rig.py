"""Repositories for tests: made, written to, and read back without the reader that users have.

`seen` is the oracle: what a folder holds, asked by other calls than the writer's.
"""

from __future__ import annotations

import asyncio
import os
import random
import stat
from typing import TYPE_CHECKING, NamedTuple

from obstore.store import MemoryStore

from checkpoints.format.ids import CheckpointId
from checkpoints.repository import Repository
from checkpoints.storage.obstore_storage import ObstoreStorage
from checkpoints.tree.entry import Device, Entry, Extents, IndirectExtents, Inline, Kind, Target
from checkpoints.tree.keys import path_of
from checkpoints.tree.long_lists import extents_of
from checkpoints.writing.writer import Writer
from common.clock import SystemClock
from tests.support.hurried_clock import HurriedClock

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path

    from checkpoints.chunk_source import ChunkSource
    from checkpoints.format.record import Record
    from checkpoints.storage.storage import Storage
    from checkpoints.tree.tree import Tree

CHECKPOINT = CheckpointId("00000000000000c1")
OTHER = CheckpointId("00000000000000c2")


class Clock(HurriedClock):
    """Sleeps in no time, but has the kernel's calendar: files' times are compared with it."""

    def now(self) -> datetime:
        return SystemClock().now()


class Thing(NamedTuple):
    """What a path stands for. Two are equal if nobody could tell them apart."""

    kind: Kind
    mode: int
    owner: tuple[int, int]
    modified_ns: int
    attributes: tuple[tuple[bytes, bytes], ...]
    content: object
    names: tuple[bytes, ...]
    """Of a file with several."""


def memory() -> ObstoreStorage:
    return ObstoreStorage(MemoryStore())


async def repository(storage: Storage | None = None, *, seed: int = 1) -> Repository:
    """Return the one there, or a new one."""
    return await Repository.open(
        storage or memory(), create=True, clock=Clock(), rng=random.Random(seed)
    )


async def writer(
    found: Repository, checkpoint: CheckpointId = CHECKPOINT, *, run_number: int = 1
) -> Writer:
    return await Writer.open(found, checkpoint, run_number=run_number)


def fill(folder: Path, seed: int) -> None:
    """Write some files with content of its own for each seed."""
    rng = random.Random(seed)
    for number in range(3):
        (folder / f"file{number}").write_bytes(rng.randbytes(300_000))


async def write_each(one: Writer, folder: Path, seeds: Iterable[int]) -> None:
    """Write a generation for each seed, of files that supersede those before."""
    for seed in seeds:
        fill(folder, seed)
        await one.write(folder)


async def read_back(found: Repository, record: Record) -> dict[bytes, Thing]:
    """Return all that a generation holds, by path, every byte checked."""
    chunks = await found.chunks(record)
    return await asyncio.to_thread(_things, found.tree(record, chunks), chunks)


def _things(tree: Tree, chunks: ChunkSource) -> dict[bytes, Thing]:
    entries = {path_of(key): entry for key, entry in tree.walk()}
    names: dict[int, list[bytes]] = {}
    for path, entry in entries.items():
        if entry.several_names:
            names.setdefault(entry.inode, []).append(path)
    return {
        path: Thing(
            kind=entry.kind,
            mode=entry.mode,
            owner=(entry.user, entry.group),
            modified_ns=entry.modified_ns,
            attributes=entry.attributes,
            content=entry.opaque or _content(entry, chunks),
            names=tuple(sorted(names[entry.inode])) if entry.several_names else (),
        )
        for path, entry in entries.items()
    }


def _content(entry: Entry, chunks: ChunkSource) -> object:
    content = entry.content
    if isinstance(content, (Extents, IndirectExtents)):
        return b"".join(
            bytes(extent.length_bytes) if extent.chunk_id is None else chunks.fetch(extent.chunk_id)
            for extent in extents_of(content, chunks.fetch)
        )
    match content:
        case Inline(data=data):
            return data
        case Target(path=path):
            return path
        case Device(major=major, minor=minor):
            return (major, minor)
        case _:
            return False if entry.kind is Kind.FOLDER else None


_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.FOLDER,
    stat.S_IFLNK: Kind.SYMBOLIC_LINK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFCHR: Kind.CHARACTER_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
    stat.S_IFSOCK: Kind.SOCKET,
}
GONE = Thing(Kind.DELETION, 0, (0, 0), 0, (), None, ())


def seen(folder: Path) -> dict[bytes, Thing]:
    """Return all that a folder holds, by path."""
    root = os.fsencode(folder)
    paths = [b""]
    for where, folders, files in os.walk(root):
        base = os.path.relpath(where, root)
        paths += [name if base == b"." else base + b"/" + name for name in (*folders, *files)]
    status = {path: os.lstat(_join(root, path)) for path in paths}
    names: dict[int, list[bytes]] = {}
    for path, found in status.items():
        if not stat.S_ISDIR(found.st_mode):
            names.setdefault(found.st_ino, []).append(path)
    return {path: _thing(_join(root, path), found, names) for path, found in status.items()}


def _join(root: bytes, path: bytes) -> bytes:
    return root + b"/" + path if path else root


def _thing(where: bytes, status: os.stat_result, names: dict[int, list[bytes]]) -> Thing:
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    if kind is Kind.CHARACTER_DEVICE and not status.st_rdev:
        return GONE
    attributes = {
        os.fsencode(name): os.getxattr(where, name, follow_symlinks=False)
        for name in os.listxattr(where, follow_symlinks=False)
    }
    opaque = attributes.pop(b"trusted.overlay.opaque", b"") == b"y"
    content: object = None
    if kind is Kind.FILE:
        with open(where, "rb") as file:
            content = file.read()
    elif kind is Kind.FOLDER:
        content = opaque
    elif kind is Kind.SYMBOLIC_LINK:
        content = os.readlink(where)
    elif kind in {Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE}:
        content = (os.major(status.st_rdev), os.minor(status.st_rdev))
    several = kind is not Kind.FOLDER and status.st_nlink > 1
    return Thing(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        owner=(status.st_uid, status.st_gid),
        modified_ns=status.st_mtime_ns,
        attributes=tuple(sorted(attributes.items())),
        content=content,
        names=tuple(sorted(names[status.st_ino])) if several else (),
    )
