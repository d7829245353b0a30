"""The agent as engines start it: a process of its own, real tools, real signals."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

from common.messages import RunPhase, RunState, StepState, ToolPhase
from common.wire import encode
from tests.support.agent_rig import (
    lives,
    pid_in,
    running_agent,
    session_spec,
    tool_spec,
    until,
)
from tests.support.fake_control_plane import Mood, serving

if TYPE_CHECKING:
    from pathlib import Path

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


async def test_a_run_from_start_to_a_stop_by_the_control_plane(tmp_path: Path) -> None:
    async with serving() as control_plane:
        tool = tool_spec(tmp_path, "serve()")
        spec = session_spec(tmp_path, tool, url=control_plane.url, grace_seconds=10)
        async with running_agent(tmp_path, spec) as agent:
            running = await control_plane.reached(RunPhase.RUNNING)
            assert running.tool.phase is ToolPhase.READY
            assert running.tool.pid is not None
            assert not (tmp_path / "spec.json").exists()
            await control_plane.wish(RunState.STOP, "LIFESPAN_EXPIRED")
            assert await agent.exit_code() == 0, agent.log()
        last = control_plane.reports[-1]
        assert last.phase is RunPhase.STOPPED
        assert last.message == "its lifespan has ended"
        assert [(step.name, step.state) for step in last.stop_steps] == [
            ("no new requests", StepState.SUCCEEDED),
            ("stop the tool", StepState.SUCCEEDED),
        ]
        assert not lives(running.tool.pid)
        sequences = [report.sequence for report in control_plane.reports]
        assert sequences == sorted(set(sequences))


async def test_sigterm_stops_in_order_and_leaves_no_process(tmp_path: Path) -> None:
    async with serving() as control_plane:
        tool = tool_spec(tmp_path, STUBBORN_GRANDCHILD)
        spec = session_spec(tmp_path, tool, url=control_plane.url, grace_seconds=10)
        async with running_agent(tmp_path, spec) as agent:
            grandchild = await pid_in(tmp_path / "workspace" / "grandchild")
            await control_plane.reached(RunPhase.RUNNING)
            agent.signal(signal.SIGTERM)
            assert await agent.exit_code() == 0, agent.log()
        assert not lives(grandchild)
        assert control_plane.reports[-1].phase is RunPhase.STOPPED


async def test_a_second_sigterm_does_not_wait_for_a_tool_that_ignores_the_first(
    tmp_path: Path,
) -> None:
    async with serving() as control_plane:
        tool = tool_spec(tmp_path, "signal.signal(signal.SIGTERM, signal.SIG_IGN); serve()")
        spec = session_spec(tmp_path, tool, url=control_plane.url, grace_seconds=600)
        async with running_agent(tmp_path, spec) as agent:
            await control_plane.reached(RunPhase.RUNNING)
            agent.signal(signal.SIGTERM)
            stopping = await control_plane.reported(
                lambda report: report.tool.phase is ToolPhase.STOPPING
            )
            assert stopping.tool.pid is not None
            assert lives(stopping.tool.pid)
            agent.signal(signal.SIGTERM)
            assert await agent.exit_code() == 0, agent.log()
        assert not lives(stopping.tool.pid)


async def test_kill_of_the_agent_ends_the_tool_and_the_next_agent_ends_what_it_left(
    tmp_path: Path,
) -> None:
    async with serving() as control_plane:
        tool = tool_spec(tmp_path, STUBBORN_GRANDCHILD)
        spec = session_spec(tmp_path, tool, url=control_plane.url, grace_seconds=10)
        async with running_agent(tmp_path, spec) as agent:
            grandchild = await pid_in(tmp_path / "workspace" / "grandchild")
            running = await control_plane.reached(RunPhase.RUNNING)
            agent.signal(signal.SIGKILL)
            await agent.exit_code()
        tool_pid = running.tool.pid
        assert tool_pid is not None
        await until(lambda: not lives(tool_pid), what="the tool has ended with its agent")
        assert lives(grandchild)
        (tmp_path / "workspace" / "grandchild").unlink()
        control_plane.reports.clear()
        async with running_agent(tmp_path, spec) as agent:
            await control_plane.reached(RunPhase.RUNNING)
            assert not lives(grandchild)
            agent.signal(signal.SIGTERM)
            assert await agent.exit_code() == 0, agent.log()


async def test_a_killed_tool_is_started_again(tmp_path: Path) -> None:
    async with serving() as control_plane:
        tool = tool_spec(tmp_path, "serve()")
        spec = session_spec(tmp_path, tool, url=control_plane.url, grace_seconds=10)
        async with running_agent(tmp_path, spec) as agent:
            running = await control_plane.reached(RunPhase.RUNNING)
            assert running.tool.pid is not None
            os.kill(running.tool.pid, signal.SIGKILL)
            again = await control_plane.reported(
                lambda report: report.phase is RunPhase.RUNNING and report.tool.restarts == 1
            )
            assert again.tool.last_exit == "killed by SIGKILL"
            assert again.tool.pid != running.tool.pid
            agent.signal(signal.SIGTERM)
            assert await agent.exit_code() == 0, agent.log()


async def test_a_tool_that_never_answers_fails_the_run_and_its_last_lines_are_reported(
    tmp_path: Path,
) -> None:
    async with serving() as control_plane:
        source = "print('no licence found', flush=True); time.sleep(600)"
        tool = tool_spec(tmp_path, source, readiness_seconds=0.5)
        spec = session_spec(tmp_path, tool, url=control_plane.url, grace_seconds=10)
        async with running_agent(tmp_path, spec) as agent:
            assert await agent.exit_code() == 1, agent.log()
        last = control_plane.reports[-1]
        assert last.phase is RunPhase.FAILED
        assert "did not answer within" in last.message
        assert last.tool.last_lines == ("no licence found",)


async def test_the_tool_sees_its_own_environment_and_nothing_of_the_agent(tmp_path: Path) -> None:
    source = """
import json
found = {
    "environment": dict(os.environ),
    "descriptors": sorted(os.readlink(f"/proc/self/fd/{fd}").split(":")[0]
                          for fd in os.listdir("/proc/self/fd") if fd in "012"),
    "more": [fd for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2],
    "session": os.getsid(0) == os.getpid(),
    "umask": os.umask(0),
    "ignored": [s for s in signal.Signals if signal.getsignal(s) == signal.SIG_IGN],
}
with open("seen.new", "w") as file:
    json.dump(found, file)
os.rename("seen.new", "seen")
serve()
"""
    async with serving() as control_plane:
        tool = tool_spec(tmp_path, source)
        spec = session_spec(tmp_path, tool, url=control_plane.url, grace_seconds=10)
        async with running_agent(tmp_path, spec) as agent:
            await control_plane.reached(RunPhase.RUNNING)
            agent.signal(signal.SIGTERM)
            await agent.exit_code()
    seen = json.loads((tmp_path / "workspace" / "seen").read_text())
    environment = seen["environment"]
    assert environment.pop("CONNECT_TOOL_ID")
    assert environment.pop("PATH").startswith("/usr/local/sbin:")
    environment.pop("LC_CTYPE", None)  # Python's own, at its start
    assert environment == {
        "HOME": tool.working_directory,
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "GREETING": "hello",
        "CONNECT_TOOL_PORT": str(tool.port),
        "CONNECT_TOOL_PATH_PREFIX": "",
    }
    assert seen["descriptors"] == ["/dev/null", "pipe", "pipe"]
    assert len(seen["more"]) == 1  # the folder being listed
    assert seen["session"]
    assert seen["umask"] == 0o022
    assert seen["ignored"] == [signal.SIGPIPE, signal.SIGXFSZ]  # Python's own, at its start


async def test_one_agent_at_a_time_uses_a_session_s_folder(tmp_path: Path) -> None:
    async with serving() as control_plane:
        tool = tool_spec(tmp_path, "serve()")
        spec = session_spec(tmp_path, tool, url=control_plane.url, grace_seconds=10)
        async with running_agent(tmp_path, spec) as first:
            await control_plane.reached(RunPhase.RUNNING)
            async with running_agent(tmp_path, spec) as second:
                await until(lambda: "waiting_for_former_agent" in second.log(), what="it waits")
                control_plane.reports.clear()
                first.signal(signal.SIGTERM)
                assert await first.exit_code() == 0
                await control_plane.reached(RunPhase.RUNNING)
                second.signal(signal.SIGTERM)
                assert await second.exit_code() == 0, second.log()


async def test_a_spec_of_another_version_is_said_and_reported(tmp_path: Path) -> None:
    async with serving() as control_plane:
        tool = tool_spec(tmp_path, "serve()")
        spec = session_spec(tmp_path, tool, url=control_plane.url, grace_seconds=10)
        newer = encode(spec).replace(b'"version":1', b'"version":2')
        async with running_agent(tmp_path, newer) as agent:
            assert await agent.exit_code() == 2
            assert "the session spec can't be used: session spec has version 2" in agent.log()
        assert [report.phase for report in control_plane.reports] == [RunPhase.FAILED]
        assert "version 2" in control_plane.reports[0].message


async def test_garbage_for_a_spec_is_one_sentence_and_code_2(tmp_path: Path) -> None:
    async with running_agent(tmp_path, b"{") as agent:
        assert await agent.exit_code() == 2
        assert agent.log().count("\n") == 1
    assert not (tmp_path / "spec.json").exists()


async def test_a_session_goes_on_while_the_control_plane_is_broken(tmp_path: Path) -> None:
    async with serving() as control_plane:
        tool = tool_spec(tmp_path, "serve()")
        spec = session_spec(tmp_path, tool, url=control_plane.url, grace_seconds=10)
        control_plane.mood = Mood.BROKEN
        async with running_agent(tmp_path, spec) as agent:
            await until(lambda: "tool_ready" in agent.log(), what="the tool is ready")
            control_plane.mood = Mood.WELL
            await control_plane.reached(RunPhase.RUNNING)
            agent.signal(signal.SIGTERM)
            assert await agent.exit_code() == 0, agent.log()
