"""One file's content, read lazily: only its own chunks, some ahead of whoever takes them."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from checkpoints.tree.entry import Extents, IndirectExtents, Inline, Kind
from checkpoints.tree.long_lists import extents_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from checkpoints.chunk_source import ChunkSource
    from checkpoints.format.ids import ChunkId
    from checkpoints.tree.entry import Entry
    from checkpoints.tree.extents import Extent
    from checkpoints.tree.tree import Tree

WINDOW_BYTES = 16 << 20
WINDOW_EXTENTS = 4096


class NoContentError(Exception):
    """A path has no content to read. The text is a sentence."""


def path_from(text: str) -> bytes:
    """Return what a person wrote as a path of trees: `/root/a`, `root/a/` and `./root/a` alike."""
    parts = [part for part in os.fsencode(text).split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise NoContentError(f"{text!r} has `..` in it: write the whole path.")
    return b"/".join(parts)


def find_file(tree: Tree, path: bytes) -> Entry:
    """Return a file's entry, or raise NoContentError. For threads."""
    entry = find(tree, path)
    if entry.kind is not Kind.FILE:
        raise NoContentError(f"{os.fsdecode(path) or '/'!r} is no file: it is {named(entry)}.")
    return entry


def find(tree: Tree, path: bytes) -> Entry:
    """Return an entry, or raise NoContentError. For threads."""
    try:
        entry = tree.lookup(path)
    except ValueError as error:
        raise NoContentError(f"{os.fsdecode(path)!r} can't be a path: {error}.") from None
    if entry is None:
        raise NoContentError(
            f"{os.fsdecode(path)!r} was not changed: what is there is the image's, if anything is."
        )
    return entry


def named(entry: Entry) -> str:
    """Return what a kind is called."""
    return _NAMES[entry.kind]


_NAMES = {
    Kind.FILE: "a file",
    Kind.FOLDER: "a folder",
    Kind.SYMBOLIC_LINK: "a symbolic link",
    Kind.FIFO: "a FIFO",
    Kind.CHARACTER_DEVICE: "a device",
    Kind.BLOCK_DEVICE: "a device",
    Kind.SOCKET: "a socket",
    Kind.DELETION: "deleted",
}


async def read_content(source: ChunkSource, entry: Entry) -> AsyncIterator[bytes | int]:
    """Yield a file's content in order; a number is a hole of so many bytes.

    Raises DamagedError, StorageError: what was yielded before is right, and not all.
    """
    content = entry.content
    if isinstance(content, Inline):
        yield content.data
        return
    assert isinstance(content, (Extents, IndirectExtents))
    windows = _windows(extents_of(content, source.fetch))
    window = await asyncio.to_thread(next, windows, None)
    while window is not None:
        chunks = await _read(source, window)
        for extent in window:
            yield extent.length_bytes if extent.chunk_id is None else chunks[extent.chunk_id]
        window = await asyncio.to_thread(next, windows, None)


def _windows(extents: Iterator[Extent]) -> Iterator[list[Extent]]:
    window: list[Extent] = []
    size_bytes = 0
    for extent in extents:
        window.append(extent)
        size_bytes += extent.length_bytes if extent.chunk_id is not None else 0
        if size_bytes >= WINDOW_BYTES or len(window) >= WINDOW_EXTENTS:
            yield window
            window, size_bytes = [], 0
    if window:
        yield window


async def _read(source: ChunkSource, window: list[Extent]) -> dict[ChunkId, bytes]:
    found: dict[ChunkId, bytes] = {}

    async def take(chunks: list[tuple[ChunkId, bytes]]) -> None:
        found.update(chunks)

    await source.read_many((each.chunk_id for each in window if each.chunk_id is not None), take)
    return found
