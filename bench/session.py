"""The agent's side of the path, as a process: the real gateway and tunnel, and no more.

`python -m bench.session SPEC_FILE`. The daemon's supervision, reports and statistics stay out: they
are not on the path, and the tool is a benchmark's own.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import uvloop

from agent.activity import Activity
from agent.gateway.server import Gateway
from agent.parts import CannotStartError
from agent.reserved import Answer, Reserved
from agent.tunnel.dialer import Tunnel
from common import log
from common.clock import SystemClock
from common.http1.lane import TcpAddress
from common.session_spec import parse
from common.tokens import TokenVerifier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from common.session_spec import SessionSpec


class _NothingReserved(Reserved):
    def __init__(self) -> None: ...  # what the real one keeps is not there

    async def answer(self, method: str, path: str, query: Mapping[str, str]) -> Answer:
        return Answer(404, "text/plain", f"{method} {path} {query}".encode())


class _NoEntrance:
    """Commands can't be started where there is no session."""

    async def enter(self, *_: object, **__: object) -> NoReturn:
        raise CannotStartError("there is no session here")


async def serve(spec: SessionSpec) -> None:
    """Serve until cancelled."""
    clock = SystemClock()
    gateway = Gateway(
        spec=spec,
        ground=_NoEntrance(),
        tool_address=TcpAddress("127.0.0.1", spec.tool.port),
        is_ready=lambda: True,
        progress=lambda: "",
        reserved=_NothingReserved(),
        activity=Activity(clock),
        verifier=TokenVerifier(spec.token_keys, clock),
        clock=clock,
    )
    tunnel = Tunnel(
        edge_urls=spec.edge_urls,
        token=spec.agent_token,
        gateway=gateway,
        clock=clock,
        rng=random.Random(1),
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(gateway.run(), name="gateway")
        group.create_task(tunnel.run(), name="tunnel")


def main(arguments: Sequence[str]) -> None:
    (spec_file,) = arguments
    log.configure(program="session")
    uvloop.run(serve(parse(Path(spec_file).read_bytes())))


if __name__ == "__main__":
    main(sys.argv[1:])
