"""One request to the API and its answer; everything that can go wrong is translated here.

Our own resolver is used because `*.localhost`, where `studios up` listens, is known to browsers
but not to every system's resolver.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp

from common import wire
from common.loopback import LoopbackResolver
from studios.failures import (
    CommandError,
    NotFoundError,
    RefusedError,
    StorageFullError,
    UnreachableError,
)
from studios.shapes import ErrorReply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from studios.credentials import Credentials

_ANSWER_SECONDS_MAX = 60.0  # the API answers at once; starting and stopping go on behind it
_CONNECT_SECONDS_MAX = 10.0

T = TypeVar("T")


class Transport:
    """Sends requests to one control plane with one token."""

    def __init__(self, credentials: Credentials, http: aiohttp.ClientSession) -> None:
        self.url = credentials.url
        self._http = http
        self._headers = {"Authorization": f"Bearer {credentials.token.reveal()}"}

    async def call(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        query: dict[str, str] | None = None,
        body: Any = None,
    ) -> T:
        """Send one request and return its answer as `kind`; raises one of our failures."""
        answer = await self.send(method, path, query=query, body=body)
        try:
            return wire.decode(answer, kind)
        except wire.MalformedMessageError as error:
            raise CommandError(
                f"{self.url} answered something else than this API ({error}): "
                "check the address, and that both sides have the same version."
            ) from None

    async def send(
        self, method: str, path: str, *, query: dict[str, str] | None = None, body: Any = None
    ) -> bytes:
        """Send one request and return the answer's body; raises one of our failures."""
        headers = self._headers
        data = None
        if body is not None:
            data = wire.encode(body)
            headers = {**headers, "Content-Type": "application/json"}
        try:
            async with self._http.request(
                method,
                f"{self.url}/api{path}",
                params=query,
                data=data,
                headers=headers,
                allow_redirects=False,
            ) as response:
                answer = await response.read()
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise unreachable(self.url, error) from None
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            raise refusal(self.url, status, answer)
        return answer

    @asynccontextmanager
    async def stream(
        self, url: str, *, token: str, query: dict[str, str]
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a session's own endpoint and yield its body piece by piece, without end time."""
        try:
            async with self._http.get(
                url,
                params=query,
                headers={"Authorization": f"Bearer {token}"},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS_MAX),
                allow_redirects=False,
            ) as response:
                if response.status >= HTTPStatus.MULTIPLE_CHOICES:
                    raise refusal(url, response.status, await response.read())
                yield response.content.iter_any()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise unreachable(url, error) from None


@asynccontextmanager
async def connect(
    credentials: Credentials, *, unix_socket: Path | None = None
) -> AsyncIterator[Transport]:
    """Yield a transport to the control plane; its connections are closed at the end."""
    connector = (
        aiohttp.UnixConnector(str(unix_socket))
        if unix_socket is not None
        else aiohttp.TCPConnector(resolver=LoopbackResolver())
    )
    timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS_MAX, sock_connect=_CONNECT_SECONDS_MAX)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        yield Transport(credentials, http)


def unreachable(url: str, error: Exception) -> CommandError:
    """Return the failure for a request that got no answer."""
    match error:
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return CommandError(
                f"{url!r} is not an http or https address: correct STUDIOS_URL, "
                "or run `studios login URL`."
            )
        case TimeoutError():
            reason = "no answer in time"
        case aiohttp.ClientConnectorError():
            number = error.os_error.errno
            # asyncio's own text repeats the address.
            reason = os.strerror(number) if number else str(error.os_error)
        case _:
            reason = str(error) or type(error).__name__
    return UnreachableError(
        f"{url} can't be reached ({reason}): start it with `studios up`, or check STUDIOS_URL."
    )


def refusal(url: str, status: int, body: bytes) -> CommandError:
    """Return the failure for an answer that says no; the API's own sentence where it has one."""
    try:
        sentence = wire.decode(body, ErrorReply).message
    except wire.MalformedMessageError:
        sentence = ""
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return RefusedError(
                f"{url} doesn't accept the token: log in again with `studios login`, "
                "or correct STUDIOS_TOKEN."
            )
        case HTTPStatus.FORBIDDEN:
            return RefusedError(sentence or f"{url} refused this.")
        case HTTPStatus.NOT_FOUND if sentence:
            return NotFoundError(sentence)
        case HTTPStatus.INSUFFICIENT_STORAGE if sentence:
            return StorageFullError(sentence)
        case HTTPStatus.BAD_GATEWAY | HTTPStatus.SERVICE_UNAVAILABLE | HTTPStatus.GATEWAY_TIMEOUT:
            return UnreachableError(
                sentence or f"{url} is not available now ({status}): try again."
            )
        case _:
            pass
    return CommandError(
        sentence
        or f"{url} answered {status} and no reason: check that the address is that of a Studios "
        "control plane."
    )
