"""What the benchmarks of sessions make of what they measured; pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bench import files, idle, start, timeline
from bench.places import DISK, OVERLAY, SESSION, VOLUME
from bench.processes import BenchError
from bench.results import Findings, Provenance, section
from tests.bench.test_results import MACHINE

BEGUN = datetime(2030, 1, 1, 12, tzinfo=UTC)
EVENTS = (
    "agent_started",
    "volume_image_ready",
    "volume_attached",
    "session_root_mounted",
    "session_root_ready",
    "tool_started",
    "tool_ready",
)


def log(*events: str) -> str:
    """Return an agent's log with a second before each event."""
    return "".join(
        f'{{"event": "{event}", "timestamp": "{(BEGUN + timedelta(seconds=n)).isoformat()}"}}\n'
        for n, event in enumerate(events, 1)
    )


def test_the_steps_of_a_start_add_up_to_the_whole() -> None:
    found = timeline.parts(log(*EVENTS), BEGUN, 7.5)
    assert list(found) == list(timeline.STEP_NAMES)
    assert sum(found.values()) == 7.5
    assert found[timeline.REPORT] == 0.5


def test_the_first_of_two_equal_events_counts() -> None:
    assert timeline.parts(log(*EVENTS, "tool_ready"), BEGUN, 9)[timeline.REPORT] == 2


@pytest.mark.parametrize("missing", EVENTS)
def test_a_log_without_a_step_is_no_result(missing: str) -> None:
    with pytest.raises(BenchError, match=missing):
        timeline.parts(log(*(event for event in EVENTS if event != missing)), BEGUN, 9)


def starts(plain: float, ours: float) -> start.Samples:
    steps = dict.fromkeys(timeline.STEP_NAMES, 0.1)
    return {
        (kind, cache): [start.Start(plain if kind == start.PLAIN else ours, 0.2, steps)] * 3
        for kind in (start.PLAIN, start.NEW, start.KEPT)
        for cache in (start.WARM, start.COLD)
    }


@pytest.mark.parametrize(("ours", "is_met"), [(1.9, True), (2.1, False)])
def test_a_start_may_take_a_second_more_than_the_tools(ours: float, is_met: bool) -> None:
    assert [bar.is_met for bar in start.bars(starts(1.0, ours))] == [is_met] * 4


def test_a_slow_start_is_explained_by_its_longest_steps() -> None:
    samples = starts(1.0, 1.5)
    slow = start.Start(9.0, 0.2, {**samples[start.KEPT, start.COLD][0].parts, timeline.REPORT: 7.0})
    samples[start.KEPT, start.COLD] = [slow]
    assert f"{start.KEPT}, {start.COLD}" in start.why(samples)
    assert f"{timeline.REPORT} 7.00 s" in start.why(samples)


def cost(rss_mb: float, cpu_percent: float) -> idle.Cost:
    return idle.Cost(
        processes=1, rss_mb=rss_mb, pss_mb=1.0, cpu_percent=cpu_percent, wakeups_per_second=1.0
    )


def test_all_processes_of_the_agent_count_and_the_tool_does_not() -> None:
    costs = {idle.AGENT: cost(60, 0.3), "studio-init": cost(41, 0.1), idle.TOOL: cost(500, 50)}
    assert idle.ours(costs).processes == 2
    assert idle.ours(costs).rss_mb == 101
    assert [bar.is_met for bar in idle.bars(costs)] == [False, True]
    assert idle.AGENT in idle.why(costs)


def test_a_ratio_of_files_is_the_sessions_rate_by_the_others() -> None:
    rates = {DISK: 400.0, OVERLAY: 200.0, VOLUME: 100.0, SESSION: 50.0}
    samples = {
        (name, row.key): [rate * row.scale] * 3
        for name, rate in rates.items()
        for row in files.ROWS
    }
    del samples[VOLUME, "walk"]
    table = files.sections(samples, 3)[1]
    assert "| 400 | 200 | 100 | 50 | 0.50× | 0.25× | 0.12× |" in table
    assert "| 400 | 200 | – | 50 | – | 0.25× | 0.12× |" in table


def test_a_section_may_have_no_bars() -> None:
    text = section(Findings("T", ["Words."], [], ""), Provenance("c", BEGUN, MACHINE, "v"))
    assert text.endswith("\n\nWords.\n")
