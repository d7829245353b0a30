"""The supervisor with real processes, and a clock on which pauses take no time."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from agent.supervisor.output import ToolOutput
from agent.supervisor.plain_http import NoAnswerError, get
from agent.supervisor.supervisor import LEFTOVER_GRACE_SECONDS, Supervisor, ToolGivenUpError
from common.clock import SystemClock
from common.http1.lane import TcpAddress
from common.messages import ToolPhase
from tests.support.agent_rig import free_port, lives, pid_in, tool_spec, until
from tests.support.hurried_clock import HurriedClock
from tests.support.plain_ground import PlainGround, plain_ground

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from common.clock import Clock
    from common.session_spec import ToolSpec

LONG_SECONDS = 1e9  # on the hurried clock, probing takes no time


@asynccontextmanager
async def supervising(folder: Path, tool: ToolSpec, clock: Clock) -> AsyncIterator[Supervisor]:
    async with standing(folder, tool, clock) as (supervisor, _):
        yield supervisor


@asynccontextmanager
async def standing(
    folder: Path, tool: ToolSpec, clock: Clock
) -> AsyncIterator[tuple[Supervisor, PlainGround]]:
    output = ToolOutput(folder / "tool.log")
    try:
        async with plain_ground(tool.working_directory, output.pipe) as ground:
            supervisor = Supervisor(
                tool, {}, ground=ground, output=output, clock=clock, on_change=lambda: None
            )
            yield supervisor, ground
    finally:
        output.close()


async def test_a_tool_that_crashes_again_and_again_is_given_up_with_its_last_words(
    tmp_path: Path,
) -> None:
    source = "print('out of licences', flush=True); sys.exit(3)"
    tool = tool_spec(tmp_path, source, readiness_seconds=LONG_SECONDS)
    async with supervising(tmp_path, tool, HurriedClock()) as supervisor:
        with pytest.raises(ToolGivenUpError, match=r"ended 6 times .*: exit code 3"):
            await supervisor.run()
        status = supervisor.status()
        assert status.phase is ToolPhase.FAILED
        assert status.restarts == 5
        assert status.last_exit == "exit code 3"
        assert status.last_lines == ("out of licences",) * 6
        await supervisor.stop(10)  # a stop that comes too late returns


async def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    tool = msgspec.structs.replace(
        tool_spec(tmp_path, "", readiness_seconds=LONG_SECONDS), command=("/nowhere/jupyter",)
    )
    async with supervising(tmp_path, tool, HurriedClock()) as supervisor:
        with pytest.raises(ToolGivenUpError, match="exit code 127"):
            await supervisor.run()
        assert "/nowhere/jupyter" in supervisor.status().last_lines[-1]


async def test_a_port_in_use_by_a_stranger_is_said_and_not_taken_for_the_tool(
    tmp_path: Path,
) -> None:
    tool = tool_spec(tmp_path, "serve()")
    with socket.create_server(("127.0.0.1", tool.port), backlog=100):
        async with supervising(tmp_path, tool, HurriedClock()) as supervisor:
            with pytest.raises(ToolGivenUpError, match=f"port {tool.port} is in use"):
                await supervisor.run()
            assert not supervisor.is_ready()


async def test_a_tool_that_closes_its_port_but_lives_is_left_alone(tmp_path: Path) -> None:
    source = """
import threading
address = ("127.0.0.1", int(os.environ["CONNECT_TOOL_PORT"]))
server = http.server.ThreadingHTTPServer(address, Handler)
threading.Thread(target=server.serve_forever).start()
while not os.path.exists("close"): time.sleep(0.01)
server.shutdown(); server.server_close()
open("closed", "w").close()
time.sleep(600)
"""
    tool = tool_spec(tmp_path, source)
    async with supervising(tmp_path, tool, SystemClock()) as supervisor:
        async with asyncio.TaskGroup() as group:
            group.create_task(supervisor.run())
            await until(supervisor.is_ready, what="the tool is ready")
            workspace = tmp_path / "workspace"
            (workspace / "close").touch()
            await until((workspace / "closed").exists, what="the port is closed")
            with pytest.raises(NoAnswerError):
                await get(TcpAddress("127.0.0.1", tool.port), "/", limit_seconds=1)
            assert supervisor.is_ready()
            assert supervisor.status().restarts == 0
            await supervisor.stop(5)
        assert supervisor.status().phase is ToolPhase.STOPPED


async def test_a_stop_during_the_pause_before_a_restart_starts_nothing(tmp_path: Path) -> None:
    tool = tool_spec(tmp_path, "sys.exit(1)")
    async with supervising(tmp_path, tool, SystemClock()) as supervisor:
        async with asyncio.TaskGroup() as group:
            group.create_task(supervisor.run())
            await until(
                lambda: supervisor.status().phase is ToolPhase.BACKING_OFF, what="it backs off"
            )
            await supervisor.stop(5)
        assert supervisor.status().phase is ToolPhase.STOPPED
        assert supervisor.status().pid is None


async def test_a_stop_before_the_tool_answers_ends_it(tmp_path: Path) -> None:
    tool = tool_spec(tmp_path, "time.sleep(600)")
    async with supervising(tmp_path, tool, SystemClock()) as supervisor:
        async with asyncio.TaskGroup() as group:
            group.create_task(supervisor.run())
            await until(lambda: supervisor.status().pid, what="it was started")
            pid = supervisor.status().pid
            assert pid is not None
            await supervisor.stop(5)
        assert not lives(pid)


async def test_a_tool_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    source = "signal.signal(signal.SIGTERM, signal.SIG_IGN); serve()"
    tool = tool_spec(tmp_path, source)
    async with supervising(tmp_path, tool, SystemClock()) as supervisor:
        async with asyncio.TaskGroup() as group:
            group.create_task(supervisor.run())
            await until(supervisor.is_ready, what="the tool is ready")
            pid = supervisor.status().pid
            assert pid is not None
            await supervisor.stop(0.3)
        assert not lives(pid)


async def test_a_job_that_the_tool_started_survives_the_tool_s_crash_but_not_the_stop(
    tmp_path: Path,
) -> None:
    source = """
if not os.path.exists("job"):
    if os.fork() == 0:
        os.setsid()
        with open("job.new", "w") as file:
            file.write(str(os.getpid()))
        os.rename("job.new", "job")
        while True:
            print("step", flush=True)
            time.sleep(0.05)
serve()
"""
    tool = tool_spec(tmp_path, source)
    async with supervising(tmp_path, tool, SystemClock()) as supervisor:
        async with asyncio.TaskGroup() as group:
            group.create_task(supervisor.run())
            await until(supervisor.is_ready, what="the tool is ready")
            job = await pid_in(tmp_path / "workspace" / "job")
            first = supervisor.status().pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await until(
                lambda: supervisor.is_ready() and supervisor.status().restarts == 1,
                what="the tool is ready again",
            )
            assert lives(job)
            await supervisor.stop(5)
        assert not lives(job)


async def test_what_a_crashed_tool_left_on_its_port_is_ended_for_the_next_one(
    tmp_path: Path,
) -> None:
    source = """
address = ("127.0.0.1", int(os.environ["CONNECT_TOOL_PORT"]))
server = http.server.ThreadingHTTPServer(address, Handler)
if not os.path.exists("squatter") and os.fork() == 0:
    os.setsid()
    with open("squatter.new", "w") as file:
        file.write(str(os.getpid()))
    os.rename("squatter.new", "squatter")
    time.sleep(600)  # holds the port and never answers
server.serve_forever()
"""
    tool = tool_spec(tmp_path, source)
    async with supervising(tmp_path, tool, SystemClock()) as supervisor:
        async with asyncio.TaskGroup() as group:
            group.create_task(supervisor.run())
            await until(supervisor.is_ready, what="the tool is ready")
            squatter = await pid_in(tmp_path / "workspace" / "squatter")
            first = supervisor.status().pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await until(
                lambda: supervisor.is_ready() and supervisor.status().restarts == 1,
                what="the tool is ready again",
            )
            assert not lives(squatter)
            await supervisor.stop(5)


async def test_a_kill_cuts_the_grace_of_a_stop_short(tmp_path: Path) -> None:
    source = "signal.signal(signal.SIGTERM, signal.SIG_IGN); serve()"
    tool = tool_spec(tmp_path, source)
    async with standing(tmp_path, tool, SystemClock()) as (supervisor, ground):
        async with asyncio.TaskGroup() as group:
            group.create_task(supervisor.run())
            await until(supervisor.is_ready, what="the tool is ready")
            stop = group.create_task(supervisor.stop(600))
            await until(
                lambda: supervisor.status().phase is ToolPhase.STOPPING, what="it is stopping"
            )
            await supervisor.kill()
            await stop
        assert supervisor.status().phase is ToolPhase.STOPPED
        assert ground.graces == [0.0]


async def test_what_the_tool_left_running_gets_the_rest_of_its_grace(tmp_path: Path) -> None:
    async with standing(tmp_path, tool_spec(tmp_path, "serve()"), SystemClock()) as it:
        supervisor, ground = it
        async with asyncio.TaskGroup() as group:
            group.create_task(supervisor.run())
            await until(supervisor.is_ready, what="the tool is ready")
            await supervisor.stop(600)
        [grace] = ground.graces
        assert LEFTOVER_GRACE_SECONDS < grace < 600


async def test_a_kill_cuts_the_grace_of_what_the_tool_left_short(tmp_path: Path) -> None:
    source = """
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.setsid()
    with open("job.new", "w") as file:
        file.write(str(os.getpid()))
    os.rename("job.new", "job")
    time.sleep(600)
serve()
"""
    async with standing(tmp_path, tool_spec(tmp_path, source), SystemClock()) as it:
        supervisor, ground = it
        async with asyncio.TaskGroup() as group:
            group.create_task(supervisor.run())
            await until(supervisor.is_ready, what="the tool is ready")
            job = await pid_in(tmp_path / "workspace" / "job")
            stop = group.create_task(supervisor.stop(600))
            await until(lambda: ground.graces, what="only the job is left")
            assert lives(job)
            await supervisor.kill()
            await stop
        assert not lives(job)
        assert ground.graces[-1] == 0.0


async def test_what_a_given_up_tool_left_running_gets_a_moment_of_its_own(tmp_path: Path) -> None:
    tool = tool_spec(tmp_path, "sys.exit(1)", readiness_seconds=LONG_SECONDS)
    async with standing(tmp_path, tool, HurriedClock()) as (supervisor, ground):
        with pytest.raises(ToolGivenUpError):
            await supervisor.run()
        assert ground.graces == [LEFTOVER_GRACE_SECONDS]


async def test_what_survives_everything_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    async with standing(tmp_path, tool_spec(tmp_path, "serve()"), SystemClock()) as it:
        supervisor, ground = it
        async with asyncio.TaskGroup() as group:
            group.create_task(supervisor.run())
            await until(supervisor.is_ready, what="the tool is ready")
            ground.stubborn = True
            await supervisor.stop(5)
        assert supervisor.status().phase is ToolPhase.STOPPED


async def test_a_tool_whose_ground_is_gone_is_given_up_with_that_for_a_reason(
    tmp_path: Path,
) -> None:
    tool = tool_spec(tmp_path, "serve()", readiness_seconds=LONG_SECONDS)
    async with standing(tmp_path, tool, HurriedClock()) as (supervisor, ground):

        async def lose() -> None:
            await until(supervisor.is_ready, what="the tool is ready")
            ground.lose()

        async with asyncio.TaskGroup() as group:
            group.create_task(lose())
            with pytest.raises(
                ToolGivenUpError, match="the session has not been made, or has ended"
            ):
                await supervisor.run()


async def test_any_answer_below_500_is_ready_and_an_error_is_not(tmp_path: Path) -> None:
    source = """
codes = iter([503, 500, 302])
class Slow(Handler):
    def do_GET(self):
        self.send_response(next(codes)); self.end_headers()
address = ("127.0.0.1", int(os.environ["CONNECT_TOOL_PORT"]))
http.server.HTTPServer(address, Slow).serve_forever()
"""
    tool = tool_spec(tmp_path, source)
    async with supervising(tmp_path, tool, SystemClock()) as supervisor:
        async with asyncio.TaskGroup() as group:
            group.create_task(supervisor.run())
            await until(supervisor.is_ready, what="the tool is ready")
            await supervisor.stop(5)


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 20", b"", b"x" * 100_000]
)
async def test_what_does_not_speak_http_is_no_answer(answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(talk, "127.0.0.1", port := free_port())
    async with server:
        with pytest.raises(NoAnswerError):
            await get(TcpAddress("127.0.0.1", port), "/", limit_seconds=5)
