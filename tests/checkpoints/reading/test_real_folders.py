"""What a folder holds comes back out of a checkpoint, however odd it is, and out of the next."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, example, given, settings

from checkpoints.format.ids import CheckpointId
from checkpoints.reading.export import export_layer
from checkpoints.reading.restore import restore
from checkpoints.reading.unpacking import unpack_layer
from checkpoints.reading.verify import verify
from checkpoints.writing.writer import Writer
from tests.support.checkpoint_rig import repository as new_repository
from tests.support.every_kind import without_times_of_deletions
from tests.support.folder_facts import look
from tests.support.real_folders import Thing, folders, make

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoints.format.record import Record
    from checkpoints.repository import Repository
    from tests.support.folder_facts import Facts

TIMES = 3


async def written(found: Repository, number: int, folder: Path) -> Record:
    writer = await Writer.open(found, CheckpointId(f"{number:016x}"), run_number=1)
    return await writer.write(folder, final=True)


def without_attribute(fact: Facts, name: str) -> Facts:
    kept = tuple(pair for pair in fact.attributes if pair[0] != name)
    assert len(kept) == len(fact.attributes) - 1
    return replace(fact, attributes=kept)


def allocated(folder: Path) -> dict[bytes, int]:
    """Return how much of files isn't holes."""
    root = os.fsencode(folder)
    return {
        os.path.join(parent, name)[len(root) + 1 :]: os.lstat(os.path.join(parent, name)).st_blocks
        for parent, _, names in os.walk(root)
        for name in names
    }


def twin(name: bytes, kind: str, attributes: frozenset[int]) -> Thing:
    return Thing((name,), kind, 0o644, (0, 0), 12_000_000_345, (), 0, attributes)


TWINS = [twin(b"b", "file", frozenset([1])), twin(b"a", "other name", frozenset())]
"""One file with an attribute that layers don't have, and its other name comes first."""


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(drawn=folders)
def test_a_folder_comes_back_three_times_in_a_row(ground: Path, drawn: list[Thing]) -> None:
    async def check() -> None:
        found = await new_repository()
        source = ground / "0"
        source.mkdir()
        make(source, drawn)
        expected = look(source)
        for number in range(1, TIMES + 1):
            record = await written(found, number, source)
            source = ground / str(number)
            await restore(found, record, source)
            assert without_times_of_deletions(look(source)) == without_times_of_deletions(expected)
        first, last = allocated(ground / "0"), allocated(source)
        assert all(last[path] <= first[path] + 8 for path in first)
        assert (await verify(found)).is_sound

    try:
        asyncio.run(check())
    finally:
        for each in ground.iterdir():
            shutil.rmtree(each)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(drawn=TWINS)
@given(drawn=folders)
def test_a_folder_comes_back_as_a_layer(memory_folder: Path, drawn: list[Thing]) -> None:
    async def check() -> None:
        found = await new_repository()
        source, unpacked = memory_folder / "source", memory_folder / "unpacked"
        source.mkdir()
        unpacked.mkdir()
        make(source, drawn)
        record = await written(found, 1, source)
        layer = io.BytesIO()
        exported = await export_layer(found, record, layer)
        layer.seek(0)
        unpack_layer(io.BufferedReader(layer), unpacked)
        expected = look(source)
        for left in exported.left_out:
            if left.what == "layers have no sockets":
                del expected[left.path]
                continue
            for path in (left.path, *expected[left.path].twins):  # one file, named once
                expected[path] = without_attribute(expected[path], left.what.split()[-1])
        assert without_times_of_deletions(look(unpacked)) == without_times_of_deletions(expected)

    try:
        asyncio.run(check())
    finally:
        for each in memory_folder.iterdir():
            shutil.rmtree(each)
