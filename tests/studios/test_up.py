"""`studios up` with fake programs: from the first line to what each signal leaves behind."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from rich.console import Console

from common.secret import Secret
from studios import config
from studios.surroundings import Surroundings
from studios.up import system
from studios.up.plan import Plan
from studios.up.programs import Keys
from studios.up.signals import Wishes
from tests.support.fake_api import FAILING, TOKEN, FakeApi, serving
from tests.support.hurried_clock import HurriedClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from common.clock import Clock
    from studios.up.programs import IssueKeys

SECONDS_MAX = 10.0


@dataclass
class FakePrograms:
    """A control plane that is the fake API on a socket, and an edge that only says it is ready."""

    api: FakeApi
    log: list[str] = field(default_factory=list)
    edge_dies: bool = False
    looks_until_ended: int = 1
    """How often the engine says that a session which it was told to end still lives."""

    async def control_plane(
        self, plan: Plan, clock: Clock, ready: Callable[[IssueKeys], None]
    ) -> None:
        async def issue(existing: Secret | None) -> Keys:
            self.log.append(f"known token: {existing.reveal() if existing else None}")
            return Keys(
                admin_token=Secret(TOKEN),
                edge_token=Secret("edge"),
                end_unrecorded=self.end_unrecorded,
            )

        runner = web.AppRunner(self.api.application())
        await runner.setup()
        try:
            await web.UnixSite(runner, str(plan.socket)).start()
            ready(issue)
            await asyncio.Event().wait()
        finally:
            self.log.append("control plane ends")
            await runner.cleanup()

    async def end_unrecorded(self, session_id: str) -> bool:
        self.log.append(f"end {session_id}")
        self.looks_until_ended -= 1
        return self.looks_until_ended < 0

    async def edge(
        self, plan: Plan, clock: Clock, edge_token: Secret, ready: Callable[[], None]
    ) -> None:
        ready()
        try:
            if self.edge_dies:
                raise OSError("the edge died")
            await asyncio.Event().wait()
        finally:
            self.log.append("edge ends")


class Up:
    """One `studios up` under test."""

    def __init__(self, plan: Plan, programs: FakePrograms) -> None:
        self.plan = plan
        self.programs = programs
        self.api = programs.api
        self.wishes = Wishes()
        self.out, self.err = StringIO(), StringIO()
        environ = {"SSH_CONNECTION": "198.51.100.7 5 203.0.113.9 2222", "USER": "me"}
        settings = config.parse({**environ, "STUDIOS_DATA_DIR": "/my data"})
        self._surroundings = Surroundings(
            settings=settings,
            clock=HurriedClock(),
            program="bin/studios",
            out=Console(file=self.out, width=200),
            err=Console(file=self.err, width=200),
        )

    async def run(self) -> int:
        return await system.serve(self.plan, self._surroundings, self.programs, self.wishes)

    @asynccontextmanager
    async def attended(self) -> AsyncIterator[asyncio.Task[int]]:
        """Yield the running system once its status line is shown."""
        async with asyncio.timeout(SECONDS_MAX), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(self.run())
            await self.until(lambda: "connected · up" in self.err.getvalue())
            yield running

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS_MAX):
            while not condition():
                await asyncio.sleep(0)

    def statuses(self) -> dict[str, str]:
        return {s["name"]: s["statusInfo"]["status"] for s in self.api.studios.values()}


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    async with serving(FakeApi()) as api:
        port = int(api.url.rpartition(":")[2])
        plan = Plan(data_dir=tmp_path, work_dir="file:///w", port=port, demo=True)
        yield Up(plan, FakePrograms(api))


async def test_it_makes_the_demo_and_prints_where_everything_is(up: Up) -> None:
    async with up.attended():
        out = up.out.getvalue()
        port = up.plan.port
        assert f"  http://studio.localhost:{port}/login?token=once-1\n" in out
        assert "`STUDIOS_DATA_DIR='/my data' bin/studios login --link`" in out
        assert f"  http://ac0ffee00.studio.localhost:{port}/\n" in out
        assert f"  ssh -L {port}:127.0.0.1:{port} -p 2222 me@203.0.113.9\n" in out
        phases = [line.rsplit("  ", 1)[0] for line in up.err.getvalue().splitlines()]
        assert phases[:5] == [
            "✓ Control plane",
            f"✓ Edge at {up.plan.url}",
            "Adding the jupyterlab Studio 'demo'",
            "✓ Start JupyterLab",
            "✓ Wait until it answers",
        ]
        assert (up.plan.data_dir / "admin-token").read_text().strip() == TOKEN
        up.wishes.interrupt()


async def test_ctrl_c_stops_the_sessions_then_the_programs(up: Up) -> None:
    async with up.attended() as running:
        os.kill(os.getpid(), signal.SIGINT)
    assert running.result() == 0
    assert up.statuses() == {"demo": "stopped"}
    assert "✓ demo stopped" in up.err.getvalue()
    assert up.programs.log[-2:] == ["edge ends", "control plane ends"]


async def test_on_a_full_disk_ctrl_c_has_the_engine_end_the_sessions(up: Up) -> None:
    async with up.attended() as running:
        up.api.refuse_stop = (507, "The disk is full. The session was asked to end all the same.")
        up.wishes.interrupt()
    assert running.result() == 0
    told = up.err.getvalue()
    assert "! demo: The disk is full. The session was asked to end" in told
    assert "✓ demo has ended, but is still recorded as running" in told
    assert up.programs.log[-4:-2] == ["end c0ffee00", "end c0ffee00"]


async def test_on_a_full_disk_it_serves_without_a_login_link(up: Up) -> None:
    up.api.refuse_login_link = (507, "The disk is full.")
    async with up.attended() as running:
        assert "Error: there is no link to log in with. The disk is full." in up.err.getvalue()
        up.wishes.interrupt()
    assert running.result() == 0
    assert up.statuses() == {"demo": "stopped"}


async def test_a_session_whose_end_can_not_be_recorded_any_more_is_no_running_one(up: Up) -> None:
    async with up.attended() as running:
        up.api.stop_course = [("stopping", [("in-progress", "Stop JupyterLab")])]
        up.programs.looks_until_ended = 0
        up.wishes.interrupt()
    assert running.result() == 0
    assert "✓ demo has ended, but is still recorded as stopping  18" in up.err.getvalue()


async def test_a_session_that_does_not_end_is_named_and_left_running(up: Up) -> None:
    async with up.attended() as running:
        up.api.stop_course = [("stopping", [("in-progress", "Stop JupyterLab")])]
        up.wishes.interrupt()
    assert running.result() == 1
    assert "✗ still running after 180 s: demo" in up.err.getvalue()


async def test_a_second_ctrl_c_leaves_sessions_running(up: Up) -> None:
    async with up.attended() as running:
        up.api.stop_course = [("stopping", [("in-progress", "Stop JupyterLab")])]
        up.wishes.interrupt()
        await up.until(lambda: "Stopping demo" in up.err.getvalue())
        up.wishes.interrupt()
    assert running.result() == 130
    assert up.statuses() == {"demo": "stopping"}
    assert "still running after" not in up.err.getvalue()  # nobody waited


async def test_sigterm_leaves_sessions_running(up: Up) -> None:
    async with up.attended() as running:
        os.kill(os.getpid(), signal.SIGTERM)
    assert running.result() == 0
    assert up.statuses() == {"demo": "running"}
    assert not [path for _, path in up.api.seen if path.endswith("/stop")]


async def test_on_return_it_finds_the_demo_and_the_token(up: Up) -> None:
    up.api.have("0a1b2c3d", "demo", "running")
    (up.plan.data_dir / "admin-token").write_text("older\n")
    (up.plan.data_dir / "url").write_text(f"{up.plan.url}\n")
    async with up.attended():
        up.wishes.terminate()
    assert up.programs.log[0] == "known token: older"
    assert "still running" in up.err.getvalue()
    assert list(up.api.studios) == ["0a1b2c3d"]


async def test_a_demo_that_is_only_called_running_is_started_again(up: Up) -> None:
    """As after a reboot: the record says running until the control plane has looked."""
    up.api.have("0a1b2c3d", "demo", "running")
    up.api.unhealthy_looks = 3
    async with up.attended():
        assert "still running" not in up.err.getvalue()
        assert ("PUT", "/api/studios/0a1b2c3d/start") in up.api.seen
        assert up.statuses() == {"demo": "running"}
        up.wishes.terminate()


@pytest.mark.parametrize("status", ["stopped", "errored"])
async def test_a_demo_at_rest_is_started_again(up: Up, status: str) -> None:
    up.api.have("0a1b2c3d", "demo", status)
    async with up.attended():
        assert up.statuses() == {"demo": "running"}
        up.wishes.terminate()


async def test_a_demo_that_fails_is_told_and_the_page_stays(up: Up) -> None:
    up.api.start_course = FAILING
    async with up.attended() as running:
        assert "Error: the demo is not running. demo is errored" in up.err.getvalue()
        assert "/login?token=" in up.out.getvalue()
        up.wishes.interrupt()
    assert running.result() == 0


async def test_ctrl_c_while_the_demo_starts_stops_it(up: Up) -> None:
    up.api.start_course = [("starting", [("in-progress", "Start JupyterLab")])]
    async with asyncio.timeout(SECONDS_MAX), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(up.run())
        await up.until(lambda: up.statuses() == {"demo": "starting"})
        up.wishes.interrupt()
    assert running.result() == 0
    assert up.statuses() == {"demo": "stopped"}


async def test_a_program_that_dies_ends_everything(up: Up) -> None:
    up.programs.edge_dies = True
    with pytest.RaisesGroup(
        pytest.RaisesExc(OSError, match="the edge died"), flatten_subgroups=True
    ):
        async with asyncio.timeout(SECONDS_MAX):
            await up.run()
    assert up.programs.log[-1] == "control plane ends"
