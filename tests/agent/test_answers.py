"""What the agent says of itself: status, health, metrics, log, activity, resources."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from agent.activity import Activity
from agent.health import assess
from agent.jupyter import JupyterProbe, Terminals, parse_activity
from agent.metrics import Counters, render
from agent.reserved import Reserved
from agent.resources import ResourceMeter, Sample, use
from agent.status import Facts, assemble
from agent.stopping import Cause, Failed, Requested, Superseded
from agent.supervisor.output import FOLLOWERS_MAX, ToolOutput
from agent.supervisor.proctable import read_process
from common.clock import SteppingClock
from common.ids import RunNumber, SessionId
from common.messages import (
    ActivityStatus,
    EdgeTunnel,
    ResourceUse,
    RunPhase,
    StatusReport,
    ToolPhase,
    ToolStatus,
    TunnelStatus,
)
from common.session_spec import ToolSpec
from common.wire import MalformedMessageError
from tests.support.agent_rig import free_port

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
)


def facts(
    tool: ToolPhase = ToolPhase.READY,
    *,
    cause: Cause | None = None,
    over: bool = False,
    connected: bool = True,
) -> Facts:
    return replace(
        FACTS,
        tool=ToolStatus(phase=tool),
        tunnel=TunnelStatus(connected=connected),
        cause=cause,
        over=over,
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
    ],
)
def test_health_names_what_is_missing(known: Facts, message: str) -> None:
    health = assess(assemble(known, 1), NOW)
    assert (health.healthy, health.message) == (not message, message)


def test_metrics_hold_every_number() -> None:
    resources = ResourceUse(cpu_percent=12.5, memory_bytes=1024, processes=4, measured_at=NOW)
    report = assemble(FACTS, 1)
    report = msgspec.structs.replace(
        report, tool=msgspec.structs.replace(report.tool, resources=resources)
    )
    text = render(report, Counters(reports_sent=5, report_failures=1, requests=9)).decode()
    for line in (
        "studio_tool_ready 1.0",
        "studio_tool_restarts_total 2.0",
        "studio_tool_cpu_percent 12.5",
        "studio_tool_memory_bytes 1024.0",
        "studio_open_websockets 3.0",
        'studio_tunnel_connections{edge="http://edge",state="parked"} 2.0',
        'studio_tunnel_connections{edge="http://edge",state="busy"} 1.0',
        "studio_reports_total 5.0",
        "studio_report_failures_total 1.0",
        "studio_requests_total 9.0",
    ):
        assert f"\n{line}\n" in text


# ── The pages below /.studio/ ────────────────────────────────────────────────


class Pages:
    """The reserved pages of a session whose state a test sets."""

    def __init__(self, folder: Path) -> None:
        self.output = ToolOutput(folder / "tool.log")
        self.known = facts()
        self.reserved = Reserved(
            output=self.output,
            observe=self.observe,
            counters=lambda: Counters(0, 0, 0),
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


# ── Activity ─────────────────────────────────────────────────────────────────


def test_activity_begins_with_the_start_and_keeps_the_newest_reason() -> None:
    clock = SteppingClock()
    activity = Activity(clock)
    assert activity.status().reason == "started"
    clock.jump(60)
    activity.note("kernel busy")
    activity.websocket_opened()
    activity.websocket_opened()
    activity.websocket_closed()
    assert activity.status() == ActivityStatus(
        last_active_at=clock.now(), reason="kernel busy", open_websockets=1
    )


def kernels(*states: str) -> bytes:
    return json.dumps([{"id": "x", "execution_state": state} for state in states]).encode()


def terminals(**active: str) -> bytes:
    listed = [{"name": name, "last_activity": at} for name, at in active.items()]
    return json.dumps(listed).encode()


def test_a_busy_kernel_counts_and_an_idle_one_does_not() -> None:
    assert parse_activity(kernels("idle", "busy"), b"[]", Terminals())[0] == "kernel busy"
    assert parse_activity(kernels("idle", "starting"), b"[]", Terminals())[0] is None


def test_a_terminal_counts_when_it_was_active_since_the_last_look() -> None:
    reason, before = parse_activity(b"[]", terminals(a="10:00"), Terminals())
    assert reason is None
    assert parse_activity(b"[]", terminals(a="10:00"), before)[0] is None
    assert parse_activity(b"[]", terminals(a="10:01"), before)[0] == "terminal active"
    assert parse_activity(b"[]", terminals(b="10:01"), before)[0] is None


@pytest.mark.parametrize("garbage", [b"", b"{}", b"null", b'[{"execution_state": 3}]', b"<html>"])
def test_an_answer_that_is_no_list_of_kernels_is_malformed(garbage: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        parse_activity(garbage, b"[]", Terminals())


async def test_a_probe_asks_the_tool_and_one_that_fails_changes_nothing() -> None:
    answers = {b"/p/api/kernels": kernels("busy"), b"/p/api/terminals": b"[]"}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + answers[target])
        writer.close()
        await writer.wait_closed()

    tool = ToolSpec(
        name="J", command=("x",), port=free_port(), working_directory="/", path_prefix="/p"
    )
    clock = SteppingClock()
    activity = Activity(clock)
    probe = JupyterProbe(tool, activity, is_ready=lambda: True, clock=clock)
    await probe.probe()
    assert activity.status().reason == "started"
    async with await asyncio.start_server(talk, "127.0.0.1", tool.port):
        await probe.probe()
    assert activity.status().reason == "kernel busy"


# ── Resources ────────────────────────────────────────────────────────────────


def test_use_is_what_was_added_since_the_sample_before() -> None:
    before = Sample(100.0, memory_bytes=5, cpu_seconds={(1, 1): 10.0, (2, 2): 3.0})
    after = Sample(110.0, memory_bytes=70, cpu_seconds={(1, 1): 14.0, (3, 9): 1.0})
    found = use(before, after, NOW)
    assert (found.cpu_percent, found.memory_bytes, found.processes) == (50.0, 70, 2)


def test_a_pid_used_again_counts_as_the_new_process_it_is() -> None:
    before = Sample(0.0, cpu_seconds={(1, 1): 100.0})
    after = Sample(10.0, cpu_seconds={(1, 2): 5.0})
    assert use(before, after, NOW).cpu_percent == 50.0


async def test_real_processes_are_measured_and_ended_ones_left_out() -> None:
    own = read_process(os.getpid())
    assert own is not None
    gone = replace(own, pid=2**22 - 1)
    clock = SteppingClock()
    meter = ResourceMeter(lambda: [own, gone], interval_seconds=lambda: 30.0, clock=clock)
    await clock.advance(30)
    await meter.measure()
    assert meter.latest is not None
    assert meter.latest.processes == 1
    assert meter.latest.memory_bytes > 1024**2
