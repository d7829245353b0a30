"""The gateway, as the rest of the agent uses it. Start here; then `site`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.exec.execs import Execs
from agent.exec.starting import Surroundings
from agent.gateway.connection import TunnelConnection, TunnelEnd
from agent.gateway.site import GatewaySite
from agent.supervisor.environment import tool_environment
from common.tasks import TaskBag

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.activity import Activity
    from agent.parts import Entrance
    from agent.reserved import Reserved
    from common.clock import Clock
    from common.http1.lane import Address
    from common.session_spec import SessionSpec
    from common.tokens import TokenVerifier

_SWEEP_SECONDS = 1.0


class Gateway:
    """Serves connections that the tunnel hands it."""

    def __init__(
        self,
        *,
        spec: SessionSpec,
        ground: Entrance,
        tool_address: Address,
        is_ready: Callable[[], bool],
        progress: Callable[[], str],
        reserved: Reserved,
        activity: Activity,
        verifier: TokenVerifier,
        clock: Clock,
    ) -> None:
        """`is_ready` says whether the tool answers; `progress` what to tell people until then."""
        self._clock = clock
        self._tasks = TaskBag("gateway")
        self._execs = Execs(
            ground,
            Surroundings(
                environment=tool_environment(spec.tool, spec.environment),
                working_directory=spec.tool.working_directory,
            ),
            used=lambda: activity.note("studios exec"),
            tasks=self._tasks,
            clock=clock,
        )
        self._connections: set[TunnelConnection] = set()
        self._site = GatewaySite(
            session_id=spec.session_id,
            studio_name=spec.studio_name,
            tool_address=tool_address,
            is_ready=is_ready,
            progress=progress,
            reserved=reserved,
            execs=self._execs,
            activity=activity,
            verifier=verifier,
            tasks=self._tasks,
        )

    @property
    def requests(self) -> int:
        """Requests passed to the tool since the start."""
        return self._site.requests

    def connection(self, end: TunnelEnd) -> TunnelConnection:
        """Return the protocol for one tunnel connection that `end` keeps."""
        return TunnelConnection(self._site, end)

    def refuse_new(self) -> None:
        """Let no new request reach the tool; those in progress go on, `/.studio/` stays.

        No new command begins, and who waits for one is told.
        """
        self._site.refusing = True
        self._execs.announce_end()

    async def run(self) -> None:
        """Close idle connections to the tool, until cancelled; ends when a task of ours fails."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tasks.failed(), name="gateway/tasks")
            group.create_task(self._sweep(), name="gateway/sweep")

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._clock.sleep(_SWEEP_SECONDS)
            self._site.lane.sweep(loop.time())

    async def close(self) -> None:
        """Abort what is left."""
        await self._tasks.close()
        self._site.lane.close()
