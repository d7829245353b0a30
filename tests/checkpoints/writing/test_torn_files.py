"""Files that change while they are read are read again; or else agree with themselves."""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING

import pytest

from checkpoints.writing import batch, originals
from checkpoints.writing.batch import TRIES_MAX
from checkpoints.writing.chunking import read_fully, stretches
from checkpoints.writing.volume import open_file
from tests.support.checkpoint_rig import read_back, repository, seen, writer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from checkpoints.format.record import Record
    from checkpoints.repository import Repository
    from checkpoints.tree.entry import Entry
    from tests.support.checkpoint_rig import Thing

SIZES = [100, 5000, 3_000_000, 9_000_000]
"""In the entry; one chunk; several; more than a batch takes."""


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more" * 1000)


def _shrink(path: Path) -> None:
    os.truncate(path, max(0, path.stat().st_size - 3000))


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(os.urandom(50))


def _replace(path: Path) -> None:
    other = path.with_name("beside")
    other.write_bytes(path.read_bytes() + b"!")
    other.rename(path)


CHANGES = [_grow, _shrink, _empty, _rewrite, _replace]


class _Reads:
    """Changes a file each time that a piece of it was read, so many times."""

    def __init__(self, path: Path, change: Callable[[Path], None], times: int) -> None:
        self._path = path
        self._change = change
        self._times = times
        self.done = 0

    def read_fully(self, fd: int, offset: int, length: int) -> bytes:
        data = read_fully(fd, offset, length)
        if self.done < self._times and os.fstat(fd).st_size:
            self.done += 1
            self._change(self._path)
        return data


def _reads(
    path: Path, change: Callable[[Path], None], times: int, patch: pytest.MonkeyPatch
) -> _Reads:
    """Have writers read by them."""
    reads = _Reads(path, change, times)
    patch.setattr(originals, "read_fully", reads.read_fully)
    return reads


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("change", CHANGES)
async def test_a_file_that_changes_once_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(random.Random(1).randbytes(size))
    reads = _reads(path, change, 1, monkeypatch)
    found = await repository()
    record = await (await writer(found)).write(tmp_path)
    assert reads.done == 1
    assert record.torn == 0
    assert await _file(found, record) == seen(tmp_path)[b"file"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("change", [_grow, _shrink, _rewrite])
async def test_a_file_that_never_stands_still_agrees_with_itself_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(random.Random(1).randbytes(size))
    reads = _reads(path, change, 1000, monkeypatch)
    found = await repository()
    one = await writer(found)
    record = await one.write(tmp_path)
    if path.stat().st_size:  # or it became so short that it was empty in the end, and still
        assert reads.done >= TRIES_MAX
        assert record.torn == 1
    entry = await _entry(found, record)
    content = (await _file(found, record)).content
    assert isinstance(content, bytes)
    assert len(content) == entry.size_bytes
    # And it is seen that it has changed, with no more than metadata.
    monkeypatch.undo()
    record = await one.write(tmp_path)
    assert record.torn == 0
    assert await _file(found, record) == seen(tmp_path)[b"file"]


async def test_an_unchanged_file_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        (tmp_path / f"file{number}").write_bytes(random.Random(number).randbytes(1000))
    reads = _Reads(tmp_path, lambda _: None, 1000)
    monkeypatch.setattr(originals, "read_fully", reads.read_fully)
    await (await writer(await repository())).write(tmp_path)
    assert reads.done == 20


async def test_a_small_file_that_becomes_very_long_doesnt_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    monkeypatch.setattr(batch, "LARGE_FILE_BYTES", 10_000)

    def open_when_long(name: bytes, folder_fd: int) -> int:
        os.truncate(path, 1 << 33)
        return open_file(name, folder_fd)

    monkeypatch.setattr(batch, "open_file", open_when_long)
    found = await repository()
    record = await (await writer(found)).write(tmp_path)
    assert record.torn == 1
    assert (await _entry(found, record)).size_bytes == 10_000


def test_a_file_that_is_cut_short_between_data_and_hole_ends_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.seek(1 << 20)
        file.write(b"x" * 5000)
        file.truncate(3 << 20)
    seek = os.lseek

    def seek_then_cut(fd: int, offset: int, whence: int) -> int:
        at = seek(fd, offset, whence)
        if whence == os.SEEK_DATA:
            os.truncate(path, 0)
        return at

    monkeypatch.setattr(os, "lseek", seek_then_cut)
    with path.open("rb") as read:
        status = os.fstat(read.fileno())
        found = list(stretches(read.fileno(), status.st_size, status.st_blocks))
    assert sum(length for _, length, _ in found) == status.st_size


async def _entry(found: Repository, record: Record) -> Entry:
    tree = found.tree(record, await found.chunks(record))
    entry = await asyncio.to_thread(tree.lookup, b"file")
    assert entry is not None
    return entry


async def _file(found: Repository, record: Record) -> Thing:
    return (await read_back(found, record))[b"file"]
