"""A daemon in this process, on a plain ground, with a stand-in for gateway and tunnel."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from agent.daemon import serve
from agent.stopping import StopRequest
from common.clock import SystemClock
from common.messages import RunPhase, TunnelStatus
from tests.support.agent_rig import lives, session_spec, tool_spec
from tests.support.fake_control_plane import FakeControlPlane, serving
from tests.support.plain_ground import PlainGround

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.parts import Door, Road, Wiring
    from common.messages import StatusReport
    from common.secret import Secret
    from common.session_spec import SessionSpec


class FakeConnection:
    """Door and road in one: notes what the daemon does to it."""

    def __init__(self, done: list[str]) -> None:
        self.requests = 0
        self.wiring: Wiring | None = None
        self.tokens: list[Secret] = []
        self.broken = asyncio.Event()
        self.refusal_fails = False
        self._done = done

    def __call__(self, wiring: Wiring) -> tuple[Door, Road]:
        self.wiring = wiring
        return self, self

    async def run(self) -> None:
        await self.broken.wait()
        raise ZeroDivisionError("a bug")

    def refuse_new(self) -> None:
        self._done.append("refuse")
        if self.refusal_fails:
            raise OSError("the gateway is stuck")

    def status(self) -> TunnelStatus:
        return TunnelStatus(connected=True)

    def renew(self, token: Secret) -> None:
        self.tokens.append(token)

    async def close(self) -> None:
        self._done.append("close")


class DaemonRig:
    """A daemon under test and all around it."""

    def __init__(self, control_plane: FakeControlPlane, spec: SessionSpec) -> None:
        self.control_plane = control_plane
        self.spec = spec
        self.stop = StopRequest()
        self.ground = PlainGround()
        self.done = self.ground.done
        """What the daemon did to ground, door and road, in this order."""
        self.connection = FakeConnection(self.done)
        self.exit_code: int | None = None

    async def run(self, *, warnings: tuple[str, ...] = ()) -> None:
        try:
            self.exit_code = await serve(
                self.spec,
                self.stop,
                lay_ground=self.ground.laid,
                connect=self.connection,
                warnings=warnings,
                clock=SystemClock(),
                rng=random.Random(1),
            )
        finally:
            await self.ground.clean_up()

    def set(self, **settings: float) -> None:
        """Change settings of the spec, and of what the control plane wants; before `run`."""
        changed = msgspec.structs.replace(self.spec.settings, **settings)
        self.spec = msgspec.structs.replace(self.spec, settings=changed)
        self.control_plane.set(changed)

    async def works(self) -> int:
        """Return the pid of the tool, once it answers."""
        running = await self.control_plane.reached(RunPhase.RUNNING)
        assert running.tool.pid is not None
        assert lives(running.tool.pid)
        return running.tool.pid

    @property
    def last(self) -> StatusReport:
        return self.control_plane.reports[-1]


@asynccontextmanager
async def daemon(folder: Path, source: str = "serve()") -> AsyncIterator[DaemonRig]:
    """Give a daemon that the test runs, with a tool that runs `source`."""
    async with serving() as control_plane:
        tool = tool_spec(folder, source)
        spec = session_spec(folder, tool, url=control_plane.url, grace_seconds=5)
        control_plane.set(spec.settings)
        yield DaemonRig(control_plane, spec)


@asynccontextmanager
async def running_daemon(
    folder: Path, source: str = "serve()", *, warnings: tuple[str, ...] = ()
) -> AsyncIterator[DaemonRig]:
    """Run one beside the block, which must make it end."""
    async with daemon(folder, source) as it, asyncio.TaskGroup() as group:
        group.create_task(it.run(warnings=warnings))
        yield it
