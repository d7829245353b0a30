"""How the application is served: limits of request heads, and what is said of heads that are wrong.

aiohttp answers a head it can't read by itself, with the text of the parser's error, and logs that
with a traceback. The text holds what was sent: cookies and tokens. So here neither is done.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import structlog
from aiohttp import web

from common.wire import encode
from control_plane.api.faults import ErrorReply

if TYPE_CHECKING:
    from pathlib import Path

HEAD_BYTES_MAX = 64 * 1024
"""Of a request's first line, and of one header. Tools that run on the platform's own host name, or
on one above it, leave cookies there: kilobytes of them must not lock people out of the page."""
SHUTDOWN_SECONDS = 5.0
"""For requests under way when the server stops; a call takes milliseconds, streams are ended."""
KEEPALIVE_SECONDS = 75.0
"""Longer than the edge keeps idle connections, so that the edge never writes into a closed one."""

_log = structlog.get_logger()


class _Connection(web.RequestHandler):  # type: ignore[type-arg, misc, unused-ignore]
    """One connection; answers for heads that can't be read."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Say that it was wrong, without a word of what it was."""
        _log.warning("request_unreadable", status=status, error=type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("An answer is under way already: the connection must end.")
        sentence = (
            f"The request's head can't be read: keep each header below {HEAD_BYTES_MAX // 1024} "
            "KiB; in a browser, delete the cookies of this address."
        )
        response = web.Response(
            status=status,
            body=encode(ErrorReply(message=sentence)),
            content_type="application/json",
            charset="utf-8",
        )
        response.force_close()
        return response


class Runner(web.AppRunner):
    """An AppRunner that makes our own connections."""

    __slots__ = ()

    def __init__(self, app: web.Application) -> None:
        super().__init__(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)

    @property
    def server(self) -> web.Server | None:  # type: ignore[type-arg, unused-ignore]
        """What sites call for each new connection."""
        server: Any = super().server

        def connect() -> asyncio.BaseProtocol:
            return _Connection(
                server,
                loop=asyncio.get_running_loop(),
                access_log=None,  # type: ignore[arg-type]  # its default is a logger
                keepalive_timeout=KEEPALIVE_SECONDS,
                max_line_size=HEAD_BYTES_MAX,
                max_field_size=HEAD_BYTES_MAX,
            )

        return None if server is None else cast("web.Server", connect)  # type: ignore[type-arg, unused-ignore]


async def listen(
    runner: web.AppRunner, *, unix_socket: Path | None, host: str, port: int | None
) -> int | None:
    """Begin to answer; returns the TCP port, if there is one."""
    if unix_socket is not None:
        await web.UnixSite(runner, unix_socket).start()
        unix_socket.chmod(0o600)  # noqa: ASYNC240 - takes no time
    if port is None:
        return None
    await web.TCPSite(runner, host, port).start()
    *_, address = runner.addresses
    return int(address[1])
