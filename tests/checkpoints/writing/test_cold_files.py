"""Files of which the kernel has nothing in memory are asked for before they are read."""

from __future__ import annotations

import itertools
import os
import random
from typing import TYPE_CHECKING

import pytest

from checkpoints.writing import batch, contents
from tests.support.checkpoint_rig import read_back, repository, seen, writer

if TYPE_CHECKING:
    from pathlib import Path

FILES = 2000
FILE_BYTES = 3000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    rng = random.Random(1)
    for number in range(FILES):
        file = top / f"{number % 7}" / f"{number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(rng.randbytes(FILE_BYTES))
    (top / "0/link").symlink_to("nowhere")
    os.mkfifo(top / "0/fifo")
    return top


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return what will be asked for."""
    names: list[bytes] = []
    ask = batch._ask_for

    def noted(name: bytes, folder_fd: int) -> None:
        names.append(name)
        ask(name, folder_fd)

    monkeypatch.setattr(batch, "_ask_for", noted)
    return names


async def test_what_is_in_memory_is_read_at_once(folder: Path, asked: list[bytes]) -> None:
    found = await repository()
    record = await (await writer(found)).write(folder)
    assert asked == []
    assert await read_back(found, record) == seen(folder)


async def test_what_comes_from_a_disk_is_asked_for_and_is_the_same(
    folder: Path, asked: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = itertools.count(step=FILES * FILE_BYTES)
    monkeypatch.setattr(contents, "_blocks_from_disk", lambda: next(blocks))
    found = await repository()
    record = await (await writer(found)).write(folder)
    assert len(asked) > FILES / 2
    assert not {b"link", b"fifo"} & set(asked)
    assert await read_back(found, record) == seen(folder)


def test_what_vanished_before_it_was_asked_for_is_no_error(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        batch._ask_for(b"gone", fd)
    finally:
        os.close(fd)
