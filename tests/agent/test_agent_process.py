"""The agent as engines start it: a process of its own, with real sessions, tools and signals."""

from __future__ import annotations

import json
import os
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from common.messages import RunPhase, RunState, StepState, ToolPhase
from common.wire import encode
from tests.support.agent_rig import (
    AgentProcess,
    lives,
    pid_in,
    running_agent,
    session_spec,
    session_tool,
    until,
)
from tests.support.fake_control_plane import FakeControlPlane, Mood, serving
from tests.support.seen_session import SeenSession, left_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from common.session_spec import SessionSpec

STUBBORN_GRANDCHILD = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with open("grandchild.new", "w") as file:
            file.write(f"{os.getpid()}\\n")
        os.rename("grandchild.new", "grandchild")
        time.sleep(600)
    os._exit(0)
serve()
"""
"""Its grandchild leaves group, session and parent, and ignores SIGTERM."""


@asynccontextmanager
async def wanted(
    place: Path, source: str = "serve()", *, grace_seconds: float = 10.0
) -> AsyncIterator[tuple[FakeControlPlane, SessionSpec]]:
    """Give a control plane that wants a session whose tool runs `source`."""
    async with serving() as control_plane:
        tool = session_tool(place, source)
        spec = session_spec(place, tool, url=control_plane.url, grace_seconds=grace_seconds)
        control_plane.set(spec.settings)
        yield control_plane, spec


async def works(control_plane: FakeControlPlane, spec: SessionSpec) -> tuple[SeenSession, int]:
    """Wait until the tool answers; return the session and the host's pid of the tool."""
    running = await control_plane.reached(RunPhase.RUNNING)
    assert running.tool.phase is ToolPhase.READY
    assert running.tool.pid is not None
    session = SeenSession(spec)
    return session, session.host_pid(running.tool.pid)


async def stops(agent: AgentProcess) -> None:
    agent.signal(signal.SIGTERM)
    assert await agent.exit_code() == 0, agent.log()


# ── Orderly ends ─────────────────────────────────────────────────────────────


async def test_a_run_from_start_to_a_stop_by_the_control_plane(place: Path) -> None:
    async with wanted(place) as (control_plane, spec):
        async with running_agent(place, spec) as agent:
            session, tool = await works(control_plane, spec)
            assert not (place / "spec.json").exists()
            assert left_of(place) != []
            await control_plane.wish(RunState.STOP, "LIFESPAN_EXPIRED")
            assert await agent.exit_code() == 0, agent.log()
        assert left_of(place) == []
        assert session.pids() == []
        assert not lives(tool)
        last = control_plane.reports[-1]
        assert last.phase is RunPhase.STOPPED
        assert last.message == "its lifespan has ended"
        assert [(step.name, step.state) for step in last.stop_steps] == [
            ("no new requests", StepState.SUCCEEDED),
            ("stop the tool", StepState.SUCCEEDED),
            ("end the session", StepState.SUCCEEDED),
            ("save the files", StepState.SUCCEEDED),
            ("unmount the volume", StepState.SUCCEEDED),
        ]
        sequences = [report.sequence for report in control_plane.reports]
        assert sequences == sorted(set(sequences))


async def test_sigterm_stops_in_order_and_leaves_nothing_of_the_session(place: Path) -> None:
    async with wanted(place, STUBBORN_GRANDCHILD, grace_seconds=0.2) as (control_plane, spec):
        async with running_agent(place, spec) as agent:
            session, _ = await works(control_plane, spec)
            grandchild = await pid_in(session.path("/workspace/grandchild"))
            assert session.host_pid(grandchild)
            await stops(agent)
        assert session.pids() == []
        assert left_of(place) == []
        assert sorted(path.name for path in (place / "state").iterdir()) == [
            "agent.lock",
            "mounts",
            "studios-volume.btrfs",
            "tool.log",
            "volume",
        ]
        assert control_plane.reports[-1].phase is RunPhase.STOPPED


async def test_a_second_sigterm_does_not_wait_for_a_tool_that_ignores_the_first(
    place: Path,
) -> None:
    source = "signal.signal(signal.SIGTERM, signal.SIG_IGN); serve()"
    async with wanted(place, source, grace_seconds=600) as (control_plane, spec):
        async with running_agent(place, spec) as agent:
            _, tool = await works(control_plane, spec)
            agent.signal(signal.SIGTERM)
            await control_plane.reported(lambda report: report.tool.phase is ToolPhase.STOPPING)
            assert lives(tool)
            agent.signal(signal.SIGTERM)
            assert await agent.exit_code() == 0, agent.log()
        assert not lives(tool)
        assert left_of(place) == []


async def test_what_a_session_wrote_is_there_in_its_next_run(place: Path) -> None:
    source = """
runs = open("/root/runs").read() if os.path.exists("/root/runs") else ""
with open("/root/runs", "w") as file:
    file.write(runs + "one more\\n")
serve()
"""
    async with wanted(place, source) as (control_plane, spec):
        for run in (1, 2):
            control_plane.reports.clear()
            async with running_agent(place, spec) as agent:
                session, _ = await works(control_plane, spec)
                assert session.path("/root/runs").read_text() == "one more\n" * run
                await stops(agent)


# ── Ends without order ───────────────────────────────────────────────────────


async def test_nothing_outlives_a_killed_agent_and_the_next_one_finds_all_that_was_written(
    place: Path,
) -> None:
    source = f"open('unsynced', 'a').write('written\\n')\n{STUBBORN_GRANDCHILD}"
    async with wanted(place, source, grace_seconds=0.2) as (control_plane, spec):
        async with running_agent(place, spec) as agent:
            session, _ = await works(control_plane, spec)
            await pid_in(session.path("/workspace/grandchild"))
            agent.signal(signal.SIGKILL)
            await agent.exit_code()
        await until(lambda: not session.pids(), what="every process of the session has ended")
        await until(lambda: not left_of(place), what="nothing is mounted or attached")
        control_plane.reports.clear()
        async with running_agent(place, spec) as agent:
            session, _ = await works(control_plane, spec)
            assert session.path("/workspace/unsynced").read_text() == "written\n" * 2
            await stops(agent)
        assert left_of(place) == []


async def test_a_session_whose_first_process_is_killed_has_failed_and_is_cleared_away(
    place: Path,
) -> None:
    async with wanted(place) as (control_plane, spec):
        async with running_agent(place, spec) as agent:
            session, tool = await works(control_plane, spec)
            os.kill(session.first_pid, signal.SIGKILL)
            assert await agent.exit_code() == 1, agent.log()
        last = control_plane.reports[-1]
        assert last.phase is RunPhase.FAILED
        assert last.message == "The session's first process has ended: it was killed."
        assert not lives(tool)
        assert left_of(place) == []


# ── The tool ─────────────────────────────────────────────────────────────────


async def test_a_killed_tool_is_started_again(place: Path) -> None:
    async with wanted(place) as (control_plane, spec), running_agent(place, spec) as agent:
        _, tool = await works(control_plane, spec)
        os.kill(tool, signal.SIGKILL)
        again = await control_plane.reported(
            lambda report: report.phase is RunPhase.RUNNING and report.tool.restarts == 1
        )
        assert again.tool.last_exit == "killed by SIGKILL"
        assert again.tool.pid is not None
        assert SeenSession(spec).host_pid(again.tool.pid) != tool
        await stops(agent)


async def test_a_tool_that_never_answers_fails_the_run_and_its_last_lines_are_reported(
    place: Path,
) -> None:
    async with serving() as control_plane:
        source = "print('no licence found', flush=True); time.sleep(600)"
        tool = session_tool(place, source, readiness_seconds=0.5)
        spec = session_spec(place, tool, url=control_plane.url, grace_seconds=10)
        async with running_agent(place, spec) as agent:
            assert await agent.exit_code() == 1, agent.log()
        last = control_plane.reports[-1]
        assert last.phase is RunPhase.FAILED
        assert "did not answer within" in last.message
        assert last.tool.last_lines == ("no licence found",)


async def test_the_tool_sees_its_own_environment_and_nothing_of_the_agent(place: Path) -> None:
    source = """
import json
found = {
    "environment": dict(os.environ),
    "descriptors": sorted(os.readlink(f"/proc/self/fd/{fd}").split(":")[0]
                          for fd in os.listdir("/proc/self/fd") if fd in "012"),
    "more": [fd for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2],
    "session": os.getsid(0) == os.getpid(),
    "folder": os.getcwd(),
    "umask": os.umask(0),
    "ignored": [s for s in signal.Signals if signal.getsignal(s) == signal.SIG_IGN],
}
with open("seen", "w") as file:
    json.dump(found, file)
serve()
"""
    async with wanted(place, source) as (control_plane, spec):
        async with running_agent(place, spec) as agent:
            session, _ = await works(control_plane, spec)
            seen = json.loads(session.path("/workspace/seen").read_text())
            await stops(agent)
    environment = seen["environment"]
    assert environment.pop("PATH").startswith("/usr/local/sbin:")
    environment.pop("LC_CTYPE", None)  # Python's own, at its start
    assert environment == {
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "GREETING": "hello",
        "CONNECT_TOOL_PORT": str(spec.tool.port),
        "CONNECT_TOOL_PATH_PREFIX": "",
    }
    assert seen["descriptors"] == ["/dev/null", "pipe", "pipe"]
    assert len(seen["more"]) == 1  # the folder being listed
    assert seen["session"]
    assert seen["folder"] == "/workspace"
    assert seen["umask"] == 0o022
    assert seen["ignored"] == [signal.SIGPIPE, signal.SIGXFSZ]  # Python's own, at its start


# ── The agent's surroundings ─────────────────────────────────────────────────


async def test_one_agent_at_a_time_uses_a_session_s_folder(place: Path) -> None:
    async with wanted(place) as (control_plane, spec):
        async with running_agent(place, spec) as first:
            await works(control_plane, spec)
            async with running_agent(place, spec) as second:
                await until(lambda: "waiting_for_former_agent" in second.log(), what="it waits")
                control_plane.reports.clear()
                await stops(first)
                await works(control_plane, spec)
                await stops(second)


async def test_a_spec_of_another_version_is_said_and_reported(place: Path) -> None:
    async with wanted(place) as (control_plane, spec):
        newer = encode(spec).replace(b'"version":1', b'"version":2')
        async with running_agent(place, newer) as agent:
            assert await agent.exit_code() == 2
            assert "the session spec can't be used: session spec has version 2" in agent.log()
        assert [report.phase for report in control_plane.reports] == [RunPhase.FAILED]
        assert "version 2" in control_plane.reports[0].message


async def test_garbage_for_a_spec_is_one_sentence_and_code_2(tmp_path: Path) -> None:
    async with running_agent(tmp_path, b"{") as agent:
        assert await agent.exit_code() == 2
        assert agent.log().count("\n") == 1
    assert not (tmp_path / "spec.json").exists()


async def test_a_session_goes_on_while_the_control_plane_is_broken(place: Path) -> None:
    async with wanted(place) as (control_plane, spec):
        control_plane.mood = Mood.BROKEN
        async with running_agent(place, spec) as agent:
            await until(lambda: "tool_ready" in agent.log(), what="the tool is ready")
            control_plane.mood = Mood.WELL
            await works(control_plane, spec)
            await stops(agent)
