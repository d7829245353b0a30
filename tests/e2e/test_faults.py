"""What is killed comes back, or says why not; what wasn't killed goes on."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.support.live import Live, running_system
from tests.support.rig import until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(240)


def running_tool(live: Live, session_id: str) -> psutil.Process | None:
    """Return the tool, the session's first process's first child; None between two lives."""
    note = json.loads((live.data_dir / "sessions" / session_id / "session.pid").read_text())
    children = psutil.Process(note["pid"]).children()
    return children[0] if children else None


def present(process: psutil.Process | None) -> psutil.Process:
    assert process is not None
    return process


def is_gone(process: psutil.Process) -> bool:
    """Whether it ended; its line in the table may wait for a slow init."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


async def view(live: Live, name: str) -> dict[str, Any]:
    code, out, err = await live.studios("view", name, "-o", "json")
    assert code == 0, err
    studio: dict[str, Any] = json.loads(out)
    return studio


async def wait_for(live: Live, name: str, status: str, *, seconds: float = 60) -> dict[str, Any]:
    async with asyncio.timeout(seconds):
        while (studio := await view(live, name))["statusInfo"]["status"] != status:
            await asyncio.sleep(0.3)
    return studio


async def test_a_killed_tool_is_started_again_while_the_studio_stays_running(
    tmp_path: Path,
) -> None:
    async with running_system(tmp_path) as live:
        session_id = await live.add("s")
        first = present(running_tool(live, session_id))
        async with live.http() as http:
            await live.sign_in(http, session_id)
            first.kill()
            await until(lambda: running_tool(live, session_id) not in (first, None), seconds=30)
            url = f"{live.session_url(session_id)}api/status"
            async with asyncio.timeout(30):
                while True:
                    async with http.get(url) as response:
                        if response.status == 200:
                            break
                    await asyncio.sleep(0.1)
        await wait_for(live, "s", "running")
        assert len(live.agents()) == 1


async def test_a_killed_agent_is_noticed_with_a_reason_and_the_studio_starts_again(
    tmp_path: Path,
) -> None:
    async with running_system(tmp_path) as live:
        session_id = await live.add("s")
        assert await live.studios("exec", "s", "--", "sh", "-c", "echo work > kept.txt") == (
            0,
            "",
            "",
        )
        tool = present(running_tool(live, session_id))
        (agent,) = live.agents()
        agent.kill()
        studio = await wait_for(live, "s", "errored")
        assert "without a word" in studio["statusInfo"]["message"]
        assert is_gone(tool)
        code, out, err = await live.studios("start", "s", "--wait", "running")
        assert code == 0, out + err
        assert (await live.studios("exec", "s", "--", "cat", "kept.txt"))[1] == "work\n"


async def test_killed_studios_up_finds_its_sessions_running_when_it_returns(
    tmp_path: Path,
) -> None:
    async with running_system(tmp_path) as live:
        session_id = await live.add("s")
        (agent,) = live.agents()
        tool = running_tool(live, session_id)
        await live.end(signal.SIGKILL)
        assert agent.is_running()
        live.output.clear()
        await live.up()
        await wait_for(live, "s", "running")
        assert [process.pid for process in live.agents()] == [agent.pid]
        assert running_tool(live, session_id) == tool
        async with live.http() as http:
            await live.sign_in(http, session_id)
            async with http.get(f"{live.session_url(session_id)}api/status") as response:
                assert response.status == 200


async def test_ctrl_c_stops_the_sessions_properly_and_a_second_start_finds_them(
    tmp_path: Path,
) -> None:
    async with running_system(tmp_path, "--demo") as live:
        session_id = (await view(live, "demo"))["sessionId"]
        assert await live.end(signal.SIGINT) == 0, live.text
        assert not live.agents()
        live.output.clear()
        await live.up("--demo")
        demo = await view(live, "demo")
        assert demo["sessionId"] == session_id
        assert demo["statusInfo"]["status"] == "running"


async def test_sigterm_leaves_the_sessions_running(tmp_path: Path) -> None:
    async with running_system(tmp_path) as live:
        await live.add("s")
        (agent,) = live.agents()
        assert await live.end(signal.SIGTERM) == 0, live.text
        assert agent.is_running()
