"""The worker of the checkpoint benchmark does with the library what it says; with a few files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from bench.checkpoints.facts import facts, must_equal
from bench.checkpoints.messages import (
    Answer,
    Collect,
    Create,
    ListAll,
    ListFolder,
    Open,
    Request,
    Restore,
    Where,
    Write,
)
from bench.checkpoints.ours import worker
from bench.checkpoints.worker import Work, answer
from bench.processes import BenchError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "a").mkdir(parents=True)
    for number in range(20):
        (folder / f"a/{number}").write_bytes(os.urandom(10_000))
        # Long ago, or it would be read again because it may have changed meanwhile.
        os.utime(folder / f"a/{number}", ns=(1, 1))
    return folder


@pytest.fixture
def where(tmp_path: Path) -> Where:
    (tmp_path / "repository").mkdir()
    return Where(url=str(tmp_path / "repository"))


async def test_what_was_written_is_read_back_also_after_collections(
    tmp_path: Path, source: Path, where: Where
) -> None:
    work = Work()

    async def ask(request: Request) -> Answer:
        return await answer(work, request)

    await ask(Create(where=where))
    first = await ask(Write(where=where, folder=str(source)))
    assert (first.entries, first.stored_bytes > 200_000) == (22, True)
    (source / "a/1").write_bytes(b"other")
    told = await ask(Write(where=where, folder=str(source), changed=(b"a/1",)))
    found_out = await ask(Write(where=where, folder=str(source)))
    assert first.root != told.root == found_out.root
    await ask(Restore(where=where, folder=str(tmp_path / "restored")))
    await ask(Collect(where=where))
    await ask(Restore(where=where, folder=str(tmp_path / "collected")))
    for name in ("restored", "collected"):
        must_equal(facts(tmp_path / name), facts(source), name)
    assert (await ask(Open(where=where, path=b"a/7"))).entries == 22
    assert (await ask(ListFolder(path=b"a"))).entries == 20
    assert (await ask(ListAll())).entries == 22


async def test_a_worker_is_a_process_that_answers_and_ends(
    tmp_path: Path, source: Path, where: Where
) -> None:
    async with worker(tmp_path) as one:
        await one.ask(Create(where=where))
        written, cost = await one.ask_first(Write(where=where, folder=str(source)))
    assert written.seconds < cost.seconds
    assert written.peak_bytes > 10_000_000
    with pytest.raises(BenchError, match="Create failed"):
        await one.ask(Create(where=where))


async def test_what_goes_wrong_in_a_worker_is_said(tmp_path: Path, where: Where) -> None:
    async with worker(tmp_path) as one:
        with pytest.raises(BenchError, match="There are no checkpoints in this work directory"):
            await one.ask(Open(where=where, path=b"a"))
