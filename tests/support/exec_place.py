"""Where `studios exec` leads, without edge and tunnel: the agent's own end of it, on a port.

Commands are plain processes. What is between the two ends is tested in `tests/agent/exec`.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from agent.exec.execs import Execs
from agent.exec.starting import Surroundings
from common.clock import SystemClock
from common.http1.listener import Listener
from common.http1.relay import Downstream
from common.http1.replies import Reply, message
from common.tasks import TaskBag
from common.tokens import StudioClaims
from tests.support.fake_api import EXEC_TOKEN
from tests.support.plain_ground import PlainGround

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from pathlib import Path

    from common.http1.head import RequestHead
    from common.http1.site import Decision

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TERM": "dumb", "TOOL": "yes"}


class ExecPlace:
    """A site that takes commands only. `url` is where."""

    idle_seconds_max = math.inf

    def __init__(self, working_directory: Path) -> None:
        self.tasks = TaskBag("exec-place")
        self.ground = PlainGround()
        self.listener = Listener()
        self.execs = Execs(
            self.ground,
            Surroundings(environment=ENVIRONMENT, working_directory=str(working_directory)),
            used=lambda: None,
            tasks=self.tasks,
            clock=SystemClock(),
        )
        self.refuse: Reply | None = None
        """Answers everything."""
        self.url = ""
        self._ids = itertools.count()

    def decide(self, downstream: Downstream, head: RequestHead) -> Decision:
        assert head.fields[b"authorization"] == f"Bearer {EXEC_TOKEN}".encode()
        if self.refuse is not None:
            return self.refuse
        claims = StudioClaims(
            aud="", iat=0.0, exp=math.inf, sid="", scope="exec", sub="ada", jti=f"{next(self._ids)}"
        )
        return self.execs.decide(head, claims)

    def failure(
        self, downstream: Downstream, head: RequestHead | None, status: int, sentence: str
    ) -> Reply:
        return message(status, sentence)

    def opened(self, downstream: Downstream) -> None:
        self.listener.opened(downstream)

    def closed(self, downstream: Downstream) -> None:
        self.listener.closed(downstream)

    def cut(self) -> None:
        """Break all connections off."""
        for execution in self.execs._running:
            execution.connection.abort()


@asynccontextmanager
async def exec_place(
    working_directory: Path, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ExecPlace]:
    """Serve while inside; afterwards no command is left."""
    place = ExecPlace(working_directory)
    output_fd = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        await place.ground.make(output_fd=output_fd)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Downstream(place), "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        scheme = "http" if tls is None else "https"
        place.url = f"{scheme}://a1234abcd.studio.localhost:{port}/.studio/exec"
        yield place
        server.close()
    finally:
        place.listener.abort()
        place.cut()
        await place.tasks.close()
        await place.ground.clean_up()
        os.close(output_fd)
