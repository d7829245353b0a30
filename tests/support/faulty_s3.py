"""A proxy before an S3 server that answers what the test says, with the bytes that stores send."""

from __future__ import annotations

import asyncio
import io
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping


NOT_PASSED_ON = {
    "Connection",
    "Content-Length",
    "Date",
    "Keep-Alive",
    "Server",
    "Transfer-Encoding",
}


@dataclass(frozen=True)
class Answer:
    """Instead of the server's: a status, and S3's code for it."""

    status: int
    code: str = ""
    passes_on: bool = False
    """Whether the server does what was asked, whatever is answered."""
    text: str = ""
    """The body, instead of one with the code."""


class Silence(Answer):
    """No answer at all, until the client has gone."""


class Truncation(Answer):
    """The server's answer, but the connection ends in the middle of its body."""


@dataclass(frozen=True)
class Event(Answer):
    """Something happens, and the client learns nothing: see `passes_on`."""

    act: Callable[[], None] = lambda: None


@dataclass
class FaultyS3:
    """What comes next, and what came."""

    url: str = ""
    answers: deque[Answer | None] = field(default_factory=deque)
    """To the next requests; None lets one pass."""
    otherwise: Answer | None = None
    """To those for which there is none."""
    requests: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)
    """Method, path with query, headers."""


@asynccontextmanager
async def faulty_s3(upstream: str) -> AsyncIterator[FaultyS3]:
    """Yield a proxy before `upstream`; with nothing scripted it passes everything on."""
    faulty = FaultyS3()
    ended = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        faulty.requests.append((request.method, request.path_qs, request.headers.copy()))
        answer = faulty.answers.popleft() if faulty.answers else faulty.otherwise
        body = await request.read()
        passes_on = answer is None or answer.passes_on
        real = await passed_on(request, body) if passes_on else web.Response()
        match answer:
            case None:
                return real
            case Event():
                answer.act()
                raise ConnectionResetError
            case Silence():
                await ended.wait()
                raise ConnectionResetError
            case Truncation():
                return await _cut(request, real)
            case _:
                text = (
                    answer.text
                    or f"<Error><Code>{answer.code}</Code><Message>scripted</Message></Error>"
                )
                return web.Response(status=answer.status, text=text, content_type="application/xml")

    async def passed_on(request: web.Request, body: bytes) -> web.Response:
        """The signature says the proxy's address, which moto doesn't check."""
        async with session.request(
            request.method,
            f"{upstream}{request.raw_path}",
            headers=request.headers,
            data=io.BytesIO(body),
            skip_auto_headers=("User-Agent", "Content-Type"),
        ) as real:
            headers = {k: v for k, v in real.headers.items() if k not in NOT_PASSED_ON}
            if request.method == "HEAD":
                headers["Content-Length"] = real.headers.get("Content-Length", "0")
            return web.Response(status=real.status, headers=headers, body=await real.read())

    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        faulty.url = f"http://127.0.0.1:{port}"
        try:
            yield faulty
        finally:
            ended.set()
            await runner.cleanup()


async def _cut(request: web.Request, real: web.Response) -> web.StreamResponse:
    """Announce all of the body, send half of it, and close the connection."""
    assert isinstance(real.body, bytes)
    cut = web.StreamResponse(status=real.status, headers=real.headers)
    cut.content_length = len(real.body)
    await cut.prepare(request)
    await cut.write(real.body[: len(real.body) // 2])
    assert request.transport is not None
    request.transport.close()
    return cut
