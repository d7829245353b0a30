"""A control plane's side for the edge, as a process: keys, feed, and one running session.

`python -m bench.stand_in FOLDER SESSION EDGE_PORT TOOL_PORT` listens on
`FOLDER/platform.sock` and writes what the others need: the edge's token, the session's spec for the
agent's side, and the visitor's host and cookie, which comes last.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import uvloop

from bench.exchange import Visitor
from bench.specs import session_spec
from common.ids import parse_session_id
from common.secret import Secret
from common.session_spec import ToolSpec
from common.wire import encode
from tests.support.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.ids import SessionId
    from common.session_spec import SessionSpec

SOCKET_NAME = "platform.sock"
EDGE_TOKEN_NAME = "edge-token"
SPEC_NAME = "spec.json"
VISITOR_NAME = "visitor.json"
_TOKEN_SECONDS = 24 * 3600.0  # no benchmark takes that long


def connect_domain(edge_port: int) -> str:
    return f"studio.localhost:{edge_port}"


def _spec(platform: Platform, session_id: SessionId, url: str, tool_port: int) -> SessionSpec:
    tool = ToolSpec(name="bench", command=("true",), port=tool_port, working_directory="/")
    return msgspec.structs.replace(
        session_spec(session_id, tool),
        control_plane_url=url,
        edge_urls=(url,),
        session_host=platform.host(session_id),
        agent_token=Secret(platform.agent_token(session_id, seconds=_TOKEN_SECONDS)),
        token_keys=platform.signer.public_keys(),
    )


async def serve(folder: Path, session_id: SessionId, edge_port: int, tool_port: int) -> None:
    """Serve until cancelled."""
    platform = Platform(folder, connect_domain(edge_port))
    platform.add(session_id)
    await platform.start()
    token = platform.connect_token(session_id, seconds=_TOKEN_SECONDS)
    visitor = Visitor(host=platform.host(session_id), cookie=f"studio-connect={token}")
    spec = _spec(platform, session_id, f"http://127.0.0.1:{edge_port}", tool_port)
    (folder / EDGE_TOKEN_NAME).write_text("bench", encoding="ascii")
    (folder / SPEC_NAME).write_bytes(encode(spec))
    unfinished = folder / f"{VISITOR_NAME}.new"
    unfinished.write_bytes(encode(visitor))
    unfinished.rename(folder / VISITOR_NAME)
    await asyncio.get_running_loop().create_future()


def main(arguments: Sequence[str]) -> None:
    folder, session_id, edge_port, tool_port = arguments
    uvloop.run(serve(Path(folder), parse_session_id(session_id), int(edge_port), int(tool_port)))


if __name__ == "__main__":
    main(sys.argv[1:])
