"""A control plane's side for the edge, as a process: keys, feed, and one running session.

`python -m bench.stand_in FOLDER EDGE_PORT TOOL_PORT` listens on `FOLDER/platform.sock` and writes
what the others need: the edge's token, the session's spec for the agent's side, and the visitor's
host and cookie, which comes last.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from bench.exchange import Visitor
from common.ids import RunNumber, SessionId
from common.secret import Secret
from common.session_spec import SPEC_VERSION, SessionSpec, ToolSpec, WorkDirectory
from common.wire import encode
from tests.support.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Sequence

SESSION = SessionId("1234abcd")
SOCKET_NAME = "platform.sock"
EDGE_TOKEN_NAME = "edge-token"
SPEC_NAME = "spec.json"
VISITOR_NAME = "visitor.json"
_TOKEN_SECONDS = 24 * 3600.0  # no benchmark takes that long


def connect_domain(edge_port: int) -> str:
    return f"studio.localhost:{edge_port}"


def _spec(platform: Platform, folder: Path, edge_port: int, tool_port: int) -> SessionSpec:
    url = f"http://127.0.0.1:{edge_port}"
    return SessionSpec(
        version=SPEC_VERSION,
        session_id=SESSION,
        run_number=RunNumber(1),
        studio_name="bench",
        control_plane_url=url,
        edge_urls=(url,),
        session_host=platform.host(SESSION),
        agent_token=Secret(platform.agent_token(SESSION, seconds=_TOKEN_SECONDS)),
        token_keys=platform.signer.public_keys(),
        tool=ToolSpec(name="bench", command=("true",), port=tool_port, working_directory="/"),
        environment={},
        host_state_dir=str(folder),
        work_directory=WorkDirectory(url=f"file://{folder}"),
    )


async def serve(folder: Path, edge_port: int, tool_port: int) -> None:
    """Serve until cancelled."""
    platform = Platform(folder, connect_domain(edge_port))
    platform.add(SESSION)
    await platform.start()
    token = platform.connect_token(SESSION, seconds=_TOKEN_SECONDS)
    visitor = Visitor(host=platform.host(SESSION), cookie=f"studio-connect={token}")
    (folder / EDGE_TOKEN_NAME).write_text("bench", encoding="ascii")
    (folder / SPEC_NAME).write_bytes(encode(_spec(platform, folder, edge_port, tool_port)))
    unfinished = folder / f"{VISITOR_NAME}.new"
    unfinished.write_bytes(encode(visitor))
    unfinished.rename(folder / VISITOR_NAME)
    await asyncio.get_running_loop().create_future()


def main(arguments: Sequence[str]) -> None:
    folder, edge_port, tool_port = arguments
    uvloop.run(serve(Path(folder), int(edge_port), int(tool_port)))


if __name__ == "__main__":
    main(sys.argv[1:])
