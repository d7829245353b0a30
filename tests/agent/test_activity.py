"""Whether the session is used, and what its programs use."""

from __future__ import annotations

import asyncio
import json

import pytest

from agent.activity import Activity
from agent.jupyter import JupyterProbe, Terminals, parse_activity
from agent.parts import Use
from agent.resources import ResourceMeter, Sample, rates
from common.clock import SteppingClock
from common.http1.lane import TcpAddress
from common.messages import ActivityStatus, ResourceUse
from common.session_spec import ToolSpec
from common.wire import MalformedMessageError
from tests.support.agent_rig import free_port

NOW = SteppingClock().now()

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
    address = TcpAddress("127.0.0.1", tool.port)
    probe = JupyterProbe(tool, address, activity, is_ready=lambda: True, clock=clock)
    await probe.probe()
    assert activity.status().reason == "started"
    async with await asyncio.start_server(talk, "127.0.0.1", tool.port):
        await probe.probe()
    assert activity.status().reason == "kernel busy"


# ── Resources ────────────────────────────────────────────────────────────────


def sample(at_seconds: float, cpu_seconds: float) -> Sample:
    return Sample(at_seconds, Use(cpu_seconds=cpu_seconds, memory_bytes=70, processes=2))


def test_use_of_processor_time_is_a_rate_between_two_samples_and_the_rest_is_the_latest() -> None:
    found = rates(sample(100.0, 13.0), sample(110.0, 18.0), NOW)
    assert found == ResourceUse(cpu_percent=50.0, memory_bytes=70, processes=2, measured_at=NOW)


def test_no_time_between_two_samples_is_no_rate() -> None:
    assert rates(sample(100.0, 13.0), sample(100.0, 18.0), NOW).cpu_percent == 0.0


async def test_the_meter_has_a_rate_once_it_has_measured_twice() -> None:
    clock = SteppingClock()
    uses = iter([None, Use(1.0, 5, 1), None, Use(4.0, 6, 2)])
    meter = ResourceMeter(lambda: next(uses), interval_seconds=lambda: 30.0, clock=clock)
    for _ in range(3):
        await meter.measure()
        assert meter.latest is None
        await clock.advance(10)
    await meter.measure()
    assert meter.latest == ResourceUse(
        cpu_percent=15.0, memory_bytes=6, processes=2, measured_at=clock.now()
    )
