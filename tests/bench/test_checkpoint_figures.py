"""What the benchmark of checkpoints makes of what it measured, and what it notices. Pure."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from bench.checkpoints import data, figures, gaps, samples as samples_module
from bench.checkpoints.changes import change
from bench.checkpoints.costs import Cost
from bench.checkpoints.facts import count, facts, must_equal
from bench.checkpoints.samples import (
    BORG,
    CHANGED,
    COLLECTED,
    FIRST,
    FOLDER,
    MILLION_OPEN,
    OURS,
    OURS_LISTED,
    OURS_SCANNED,
    RESTIC,
    RESTORE,
    S3,
    UNCHANGED,
    Samples,
    Stall,
)
from bench.processes import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STORES = (FOLDER, S3)


def samples() -> Samples:
    """Return what meets every bar, exactly."""
    found = Samples(data=(3, 1_000_000_000), million_entries=7)
    for store in STORES:
        for key, seconds in {
            (FIRST, OURS): 2.0,
            (FIRST, RESTIC): 6.0,
            (UNCHANGED, OURS_LISTED): 0.05,
            (UNCHANGED, OURS_SCANNED): 1.0,
            (CHANGED, OURS_LISTED): 2.0,
            (CHANGED, OURS_SCANNED): 2.0,
            (RESTORE, OURS): 2.0,
            (RESTORE, RESTIC): 3.0,
            (MILLION_OPEN, OURS): 1.0,
        }.items():
            found.costs[(store, *key)] = [Cost(seconds, 1.0)] * 3
        found.sizes[store, FIRST, OURS] = 115
        found.sizes[store, COLLECTED, OURS] = 100
        found.sizes[store, FIRST, RESTIC] = 100
        found.stalls[store, FIRST, OURS] = [Stall(0.01, 0.02), Stall(0.02, 0.01)]
        found.peaks[store, FIRST, OURS] = 300_000_000
    return found


def missed(found: Samples) -> list[str]:
    return [bar.claim for bar in figures.bars(found) if not bar.is_met]


def test_bars_are_met_up_to_their_limit() -> None:
    assert missed(samples()) == []
    assert len(figures.bars(samples())) == 16


SLOWER = [
    (FIRST, OURS),
    (UNCHANGED, OURS_LISTED),
    (CHANGED, OURS_LISTED),
    (CHANGED, OURS_SCANNED),
    (RESTORE, OURS),
]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize(("step", "tool"), SLOWER)
def test_a_bar_is_missed_by_a_little(store: str, step: str, tool: str) -> None:
    found = samples()
    costs = found.costs[store, step, tool]
    found.costs[store, step, tool] = [Cost(cost.seconds * 1.01, 1.0) for cost in costs]
    (claim,) = missed(found)
    assert claim.startswith(f"{step}, {store}")


def test_sizes_memory_and_opening_have_bars_too() -> None:
    found = samples()
    found.sizes[FOLDER, FIRST, OURS] = 116
    found.sizes[S3, COLLECTED, OURS] = 101
    found.peaks[S3, FIRST, OURS] = 300_000_001
    found.costs[FOLDER, MILLION_OPEN, OURS] = [Cost(1.01, 1.0)]
    assert len(missed(found)) == 4


def test_the_median_counts() -> None:
    found = samples()
    found.costs[FOLDER, FIRST, OURS] = [Cost(1.0, 1.0), Cost(2.0, 1.0), Cost(99.0, 1.0)]
    assert missed(found) == []
    assert "2.00 (1.00–99.0)" in "".join(figures.sections(found, 3))


def test_what_a_tool_does_not_do_has_a_dash() -> None:
    tables = "".join(figures.sections(samples(), 3))
    assert BORG in tables
    assert "| nothing changed, and told so, s | 0.050 (0.050–0.050) | – | – | – |" in tables


def test_the_worst_of_all_rounds_is_what_the_event_loop_is_late() -> None:
    assert f"| {FIRST} | {S3} | 20 | 20 | 300 |" in figures.sections(samples(), 3)[-1]


def test_no_two_steps_have_one_name() -> None:
    steps = [value for name, value in vars(samples_module).items() if name.isupper()]
    assert UNCHANGED in steps
    assert len(steps) == len(set(steps))


def test_samples_pass_between_processes() -> None:
    found = samples()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Samples) == found


# ── Trees ────────────────────────────────────────────────────────────────────


def tree(folder: Path) -> Path:
    (folder / "a").mkdir(parents=True)
    (folder / "a/file").write_bytes(b"text")
    (folder / "a/link").symlink_to("file")
    os.utime(folder / "a", ns=(1, 1))
    os.utime(folder / "a/file", ns=(2, 2))
    os.utime(folder / "a/link", ns=(3, 3), follow_symlinks=False)
    return folder


def test_equal_trees_are_equal(tmp_path: Path) -> None:
    one, other = facts(tree(tmp_path / "one")), facts(tree(tmp_path / "other"))
    must_equal(one, other, "it")
    assert sorted(one) == [b"a", b"a/file", b"a/link"]
    assert count(one) == (1, 4)


def rewrite(folder: Path) -> None:
    (folder / "a/file").write_bytes(b"TEXT")
    os.utime(folder / "a/file", ns=(2, 2))


DIFFERENCES: dict[str, Callable[[Path], object]] = {
    "content": rewrite,
    "time": lambda folder: os.utime(folder / "a/file", ns=(2, 3)),
    "time of a folder": lambda folder: os.utime(folder / "a", ns=(1, 2)),
    "time of a link": lambda folder: os.utime(folder / "a/link", ns=(3, 4), follow_symlinks=False),
    "mode": lambda folder: os.chmod(folder / "a/file", 0o600),
    "attribute": lambda folder: os.setxattr(folder / "a/file", "user.a", b"1"),
    "missing": lambda folder: os.unlink(folder / "a/file"),
    "more": lambda folder: (folder / "more").mkdir(),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_every_difference_is_seen(tmp_path: Path, name: str) -> None:
    expected = facts(tree(tmp_path / "one"))
    DIFFERENCES[name](tree(tmp_path / "other"))
    with pytest.raises(BenchError, match="what was read back differs in"):
        must_equal(facts(tmp_path / "other"), expected, "what was read back")


def test_a_change_names_all_that_it_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "MANY_IN_FOLDER", 3)
    data.write_many(tmp_path)
    before = facts(tmp_path)
    touched = set(change(tmp_path, 1))
    after = facts(tmp_path)
    paths = before.keys() | after.keys()
    assert {path for path in paths if before.get(path) != after.get(path)} == touched
    written = sum(after[path].size_bytes for path in touched if path in after)
    assert written == 10_000_000


def test_a_blocked_event_loop_is_noticed() -> None:
    async def block() -> gaps.Gaps:
        async with gaps.watched() as found:
            await asyncio.sleep(0)
            time.sleep(0.1)  # noqa: ASYNC251 - it is to block
        return found

    assert asyncio.run(block()).most() >= 0.1
