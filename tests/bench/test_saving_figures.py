"""What the benchmark of saving makes of what was noted and measured; pure."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import pytest

from bench.processes import BenchError
from bench.saving import figures
from bench.saving.everyday import saving
from bench.saving.notes import STAMP, Act, Notes, Pause, Window, pause
from bench.saving.samples import (
    BY_RESTIC,
    BYSTANDER,
    CASES,
    FOLDER,
    IDLE,
    LARGE,
    LOOP,
    NOTHING,
    OURS,
    RESTIC,
    S3,
    TAR,
    WRITES,
    Memory,
    Restart,
    Samples,
    Saving,
)
from bench.saving.watched import CAPTURE, FIND, WRITE

if TYPE_CHECKING:
    from bench.results import Findings

MS = 1_000_000


def act(name: str, begin: int, end: int) -> Act:
    return Act(name=name, begin_ns=begin * MS, end_ns=end * MS)


def window(begin: int, end: int) -> Window:
    return Window(begin * MS, end * MS)


def notes(*acts: Act, ticks: tuple[int, ...] = ()) -> Notes:
    return Notes(ticks=array(STAMP, (tick * MS for tick in ticks)).tobytes(), acts=acts)


# ── what was noted ───────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("begin", "end", "longest_seconds"),
    [
        (0, 10, 0.005),
        (10, 20, 0.04),  # all of it is within a gap
        (49, 51, 0.04),  # touched at its end
        (50, 60, 0.005),
        (0, 60, 0.04),
    ],
)
def test_a_gap_counts_for_every_time_that_it_touches(
    begin: int, end: int, longest_seconds: float
) -> None:
    found = notes(ticks=(0, 5, 10, 50, 55, 60)).loop_pause([window(begin, end)])
    assert found.longest_seconds == longest_seconds


def test_one_gap_of_a_thousand_is_left_out_of_most() -> None:
    stamps = [*(number * MS for number in range(1000)), 1999 * MS]
    assert pause(stamps, [window(0, 3000)]) == Pause(0.001, 1.0)


def test_a_time_in_which_nobody_noted_anything_is_no_result() -> None:
    with pytest.raises(BenchError, match="nothing was noted"):
        pause([MS, 2 * MS], [window(10, 20)])


def test_the_parts_of_a_capture_are_told_apart() -> None:
    noted = notes(act(FIND, 3, 7), act(WRITE, 7, 50), act(CAPTURE, 1, 80))
    assert saving(noted, window(0, 90), 5) == Saving(0.049, 5, 0.006, 0.079)


def test_where_nothing_had_changed_nothing_was_written() -> None:
    earlier = (act(FIND, 2, 3), act(WRITE, 3, 8), act(CAPTURE, 1, 9))
    noted = notes(*earlier, act(FIND, 103, 107), act(CAPTURE, 101, 110))
    assert saving(noted, window(100, 120), 0) == Saving(0.009, 0, 0.006, 0.009)


def test_a_capture_that_was_not_is_no_result() -> None:
    with pytest.raises(BenchError, match="no capture"):
        saving(notes(act(CAPTURE, 1, 80)), window(100, 200), 0)


# ── what it comes to ─────────────────────────────────────────────────────────


def samples(loop_seconds: float = 0.05, idle_bytes: int = 100_000_000) -> Samples:
    """Return what meets every bar exactly, unless told otherwise."""
    found = Samples()
    for store in (FOLDER, S3):
        for during in (IDLE, LARGE):
            found.add_pause(store, during, WRITES, Pause(0.002, 0.003))
            found.add_pause(store, during, LOOP, Pause(0.006, loop_seconds))
            found.add_pause(store, during, BYSTANDER, Pause(0.005, 0.007))
        for case in CASES:
            for _ in range(3):
                found.add_saving(store, case, OURS, Saving(0.5, 2_000_000, 0.01, 0.6))
                found.add_saving(store, case, RESTIC, Saving(1.5, 4_000_000))
        found.restarts[store, 0] = [Restart(0.5, 2.0, 0.1, 0.4)] * 3
        found.restarts[store, 1000] = [Restart(4.0, 7.5, 5.0, 0.4)] * 3
    for case in CASES:
        found.add_saving(FOLDER, case, TAR, Saving(2.5, 9_000_000))
    found.idle = [Memory(idle_bytes, 60_000_000)] * 3
    found.peaks[LARGE] = [300_000_000] * 3
    return found


def rendered(found: Findings) -> str:
    return "\n".join(found.parts)


def test_everything_that_was_measured_is_shown_beside_the_peers() -> None:
    text = rendered(figures.findings(samples(), 3))
    row = "| 0.50 (0.50–0.50) | 0.010 | 0.600 | 2.00 | 1.50 | 4.00 |"
    assert f"| {NOTHING} {row} 2.50 | 9.00 |" in text, "to a folder"
    assert f"| {NOTHING} {row}\n" in text, "to S3"
    assert "| 1000 | S3 | 4.00 (4.00–4.00) | 7.50 (7.50–7.50) | +5.50 | 5.00 | 0.40 |" in text
    assert f"| {LARGE} | folder | 2.0 (2.0–2.0) | 3.0 (3.0–3.0) | – | – | 6.0 (6.0–6.0) |" in text
    assert "50.0 (50.0–50.0) | 5.0 (5.0–5.0) | 7.0 (7.0–7.0) |\n" in text, "the bystander's, last"
    assert f"| peak, {LARGE} | 300.0 | – |" in text


@pytest.mark.parametrize(
    ("loop_seconds", "idle_bytes", "met"),
    [
        (0.05, 100_000_000, [True, True, True]),
        (0.0501, 100_000_000, [False, False, True]),
        (0.05, 100_000_001, [True, True, False]),
    ],
)
def test_loop_and_memory_have_their_bars(
    loop_seconds: float, idle_bytes: int, met: list[bool]
) -> None:
    assert [bar.is_met for bar in figures.bars(samples(loop_seconds, idle_bytes))] == met


def test_how_the_loop_fares_beside_a_peer_is_shown_but_has_no_bar() -> None:
    found = samples()
    found.add_pause(FOLDER, BY_RESTIC, LOOP, Pause(0.006, 0.2))
    assert f"| {BY_RESTIC} | folder | – | – | – | – | 6.0 (6.0–6.0) | 200.0" in rendered(
        figures.findings(found, 1)
    )
    assert [bar.is_met for bar in figures.bars(found)] == [True, True, True]


def test_one_bad_round_misses_the_bar() -> None:
    found = samples()
    found.add_pause(S3, LARGE, LOOP, Pause(0.006, 0.2))
    assert [bar.is_met for bar in figures.bars(found)] == [True, False, True]
    assert f"200 ms ({LARGE}, S3); a bystander's was 7 ms there" in figures.why(found)
    found.add_pause(FOLDER, LARGE, BYSTANDER, Pause(0.006, 0.3))
    assert "7 ms there, 300 ms anywhere" in figures.why(found)
