"""What the agent says of itself: status, health, metrics, log."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest

from agent.health import assess
from agent.metrics import Counters, render
from agent.parts import GroundStatus
from agent.reserved import Reserved
from agent.status import Facts, assemble
from agent.stopping import Cause, Failed, Requested, Superseded
from agent.supervisor.output import FOLLOWERS_MAX, ToolOutput
from common.clock import SteppingClock
from common.ids import RunNumber, SessionId
from common.messages import (
    ActivityStatus,
    CheckpointPhase,
    CheckpointStatus,
    EdgeTunnel,
    ResourceUse,
    RootStatus,
    RunPhase,
    StatusReport,
    ToolPhase,
    ToolStatus,
    TunnelStatus,
    VolumeStatus,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW = SteppingClock().now()
EDGE = EdgeTunnel(edge_url="http://edge", parked=2, busy=1)
FACTS = Facts(
    session_id=SessionId("1234abcd"),
    run_number=RunNumber(1),
    now=NOW,
    tool=ToolStatus(phase=ToolPhase.READY, restarts=2),
    progress="JupyterLab is starting",
    activity=ActivityStatus(open_websockets=3),
    tunnel=TunnelStatus(connected=True, edges=(EDGE,)),
    stop_steps=(),
    ground=GroundStatus(root=None, volume=None, warnings=()),
)
VOLUME = VolumeStatus(size_bytes=2048, free_bytes=512, limit_bytes=4096)


def facts(
    tool: ToolPhase = ToolPhase.READY,
    *,
    cause: Cause | None = None,
    over: bool = False,
    connected: bool = True,
    root: RootStatus | None = None,
    volume: VolumeStatus | None = None,
    warnings: tuple[str, ...] = (),
) -> Facts:
    return replace(
        FACTS,
        tool=ToolStatus(phase=tool),
        tunnel=TunnelStatus(connected=connected),
        cause=cause,
        over=over,
        ground=GroundStatus(root, volume, warnings),
    )


# ── Status ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("known", "phase", "message"),
    [
        (facts(), RunPhase.RUNNING, ""),
        (facts(ToolPhase.STARTING), RunPhase.STARTING, "JupyterLab is starting"),
        (facts(ToolPhase.BACKING_OFF), RunPhase.STARTING, "JupyterLab is starting"),
        (facts(cause=Requested("by Ada")), RunPhase.STOPPING, "by Ada"),
        (facts(cause=Requested("IDLE"), over=True), RunPhase.STOPPED, "nobody used it"),
        (facts(cause=Failed("broken")), RunPhase.STOPPING, "broken"),
        (facts(cause=Failed("broken"), over=True), RunPhase.FAILED, "broken"),
        (
            facts(cause=Superseded(), over=True),
            RunPhase.SUPERSEDED,
            "a newer run of this Studio has started",
        ),
    ],
)
def test_the_phase_follows_from_the_facts(known: Facts, phase: RunPhase, message: str) -> None:
    report = assemble(known, 7)
    assert (report.phase, report.message, report.sequence) == (phase, message, 7)


def test_what_the_ground_says_is_in_the_report() -> None:
    root = RootStatus(process_limit_hits=1)
    report = assemble(facts(root=root, volume=VOLUME, warnings=("Beware.",)), 1)
    assert (report.root, report.volume, report.warnings) == (root, VOLUME, ("Beware.",))


# ── Health and metrics ───────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (facts(), ""),
        (facts(ToolPhase.STARTING), "the tool is starting"),
        (facts(connected=False), "the tunnel is not connected"),
        (
            facts(ToolPhase.FAILED, connected=False),
            "the tool is failed, the tunnel is not connected",
        ),
        (facts(volume=VOLUME), ""),
        (
            facts(volume=msgspec.structs.replace(VOLUME, full=True)),
            "the volume is full",
        ),
    ],
)
def test_health_names_what_is_missing(known: Facts, message: str) -> None:
    health = assess(assemble(known, 1), NOW)
    assert (health.healthy, health.message) == (not message, message)


@pytest.mark.parametrize(
    ("root", "said"),
    [
        (None, None),
        (RootStatus(), "ready"),
        (RootStatus(memory_kill_count=1), "limits were reached"),
        (RootStatus(process_limit_hits=1), "limits were reached"),
    ],
)
def test_health_says_in_a_word_how_the_root_is_and_that_it_is_no_reason_against_working(
    root: RootStatus | None, said: str | None
) -> None:
    health = assess(assemble(facts(root=root), 1), NOW)
    assert (health.healthy, health.root) == (True, said)


COUNTERS = Counters(
    reports_sent=5,
    report_failures=1,
    requests=9,
    growths=2,
    growth_failures=4,
    last_save_seconds=2.5,
)
CHECKPOINT = CheckpointStatus(
    id="0123456789abcdef",
    phase=CheckpointPhase.INTERIM,
    generation=7,
    committed_at=NOW - timedelta(seconds=90),
    entries=12,
    file_bytes=4096,
    stored_bytes=1024,
    in_progress=True,
    failures=3,
)


def test_metrics_hold_every_number() -> None:
    resources = ResourceUse(cpu_percent=12.5, memory_bytes=1024, processes=4, measured_at=NOW)
    root = RootStatus(memory_kill_count=6, process_limit_hits=8)
    report = assemble(replace(FACTS, ground=GroundStatus(root, VOLUME, (), CHECKPOINT)), 1)
    report = msgspec.structs.replace(
        report, tool=msgspec.structs.replace(report.tool, resources=resources)
    )
    text = render(report, COUNTERS).decode()
    for line in (
        "studio_tool_ready 1.0",
        "studio_tool_restarts_total 2.0",
        "studio_tool_cpu_percent 12.5",
        "studio_tool_memory_bytes 1024.0",
        "studio_tool_processes 4.0",
        "studio_volume_size_bytes 2048.0",
        "studio_volume_free_bytes 512.0",
        "studio_volume_limit_bytes 4096.0",
        "studio_volume_full 0.0",
        "studio_volume_growths_total 2.0",
        "studio_volume_growth_failures_total 4.0",
        "studio_checkpoint_age_seconds 90.0",
        "studio_checkpoint_last_save_seconds 2.5",
        "studio_checkpoint_entries 12.0",
        "studio_checkpoint_file_bytes 4096.0",
        "studio_checkpoint_in_progress 1.0",
        "studio_checkpoint_generations_total 7.0",
        "studio_checkpoint_failures_total 3.0",
        "studio_checkpoint_stored_bytes_total 1024.0",
        "studio_memory_kills_total 6.0",
        "studio_process_limit_hits_total 8.0",
        "studio_open_websockets 3.0",
        'studio_tunnel_connections{edge="http://edge",state="parked"} 2.0',
        'studio_tunnel_connections{edge="http://edge",state="busy"} 1.0',
        "studio_reports_total 5.0",
        "studio_report_failures_total 1.0",
        "studio_requests_total 9.0",
    ):
        assert f"\n{line}\n" in text


def test_metrics_do_not_make_up_what_a_session_does_not_have() -> None:
    text = render(assemble(FACTS, 1), COUNTERS).decode()
    assert "volume" not in text
    assert "checkpoint" not in text
    assert "kills" not in text
    assert "cpu" not in text


def test_metrics_tell_no_age_before_anything_is_saved() -> None:
    status = msgspec.structs.replace(CHECKPOINT, committed_at=None, generation=0)
    report = assemble(replace(FACTS, ground=GroundStatus(None, None, (), status)), 1)
    text = render(report, replace(COUNTERS, last_save_seconds=None)).decode()
    assert "studio_checkpoint_failures_total 3.0" in text
    assert "age" not in text
    assert "last_save" not in text


def test_old_checkpoint_is_told_and_no_reason_against_working() -> None:
    known = replace(FACTS, ground=GroundStatus(None, None, (), CHECKPOINT))
    health = assess(assemble(known, 1), NOW + timedelta(days=1))
    assert (health.healthy, health.checkpoint_age_seconds) == (True, 24 * 3600 + 90)
    earlier = assess(assemble(known, 1), NOW - timedelta(days=1))  # the clock was set back
    assert earlier.checkpoint_age_seconds == 0


# ── The pages below /.studio/ ────────────────────────────────────────────────


class Pages:
    """The reserved pages of a session whose state a test sets."""

    def __init__(self, folder: Path) -> None:
        self.output = ToolOutput(folder / "tool.log")
        self.known = facts()
        self.reserved = Reserved(
            output=self.output,
            observe=self.observe,
            counters=lambda: COUNTERS,
            clock=SteppingClock(),
        )

    def observe(self) -> StatusReport:
        return assemble(self.known, 0)


@pytest.fixture
async def pages(tmp_path: Path) -> AsyncIterator[Pages]:
    found = Pages(tmp_path)
    yield found
    found.output.close()


async def test_health_is_200_when_users_can_work_and_503_with_the_reason_otherwise(
    pages: Pages,
) -> None:
    answer = await pages.reserved.answer("GET", "/.studio/health", {})
    assert answer.status == 200
    pages.known = facts(ToolPhase.STARTING)
    answer = await pages.reserved.answer("GET", "/.studio/health", {})
    assert answer.status == 503
    assert isinstance(answer.body, bytes)
    body = json.loads(answer.body)
    assert body["message"] == "the tool is starting"
    assert (body["volume"], body["root"], body["checkpointAgeSeconds"]) == (None, None, None)


async def test_the_log_is_its_tail_and_then_what_follows(pages: Pages) -> None:
    pages.output.feed(b"one\ntwo\nthree\n")
    answer = await pages.reserved.answer("GET", "/.studio/log", {"tail": "2"})
    assert (answer.status, answer.body) == (200, b"two\nthree\n")
    answer = await pages.reserved.answer("GET", "/.studio/log", {"tail": "1", "follow": "1"})
    assert not isinstance(answer.body, bytes)
    assert await anext(answer.body) == b"three\n"
    pages.output.feed(b"four\n")
    assert await anext(answer.body) == b"four\n"


async def test_metrics_are_text(pages: Pages) -> None:
    answer = await pages.reserved.answer("GET", "/.studio/metrics", {})
    assert (answer.status, answer.content_type[:10]) == (200, "text/plain")


@pytest.mark.parametrize(
    ("method", "path", "query", "status"),
    [
        ("GET", "/.studio/", {}, 404),
        ("GET", "/.studio/exec", {}, 404),
        ("POST", "/.studio/health", {}, 405),
        ("GET", "/.studio/log", {"tail": "-1"}, 400),
        ("GET", "/.studio/log", {"tail": "1e3"}, 400),
        ("GET", "/.studio/log", {"tail": "\N{SUPERSCRIPT TWO}"}, 400),
        ("GET", "/.studio/log", {"tail": "9" * 5000}, 400),
    ],
)
async def test_bad_requests_get_a_sentence(
    pages: Pages, method: str, path: str, query: dict[str, str], status: int
) -> None:
    answer = await pages.reserved.answer(method, path, query)
    assert answer.status == status
    assert isinstance(answer.body, bytes)
    assert json.loads(answer.body)["message"]


async def test_too_many_readers_of_the_log_are_refused(pages: Pages) -> None:
    readers = []
    for _ in range(FOLLOWERS_MAX):
        answer = await pages.reserved.answer("GET", "/.studio/log", {"follow": "1"})
        assert not isinstance(answer.body, bytes)
        await anext(answer.body)
        readers.append(answer.body)
    answer = await pages.reserved.answer("GET", "/.studio/log", {"follow": "1"})
    assert answer.status == 503
