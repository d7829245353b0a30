"""The three calls of the control plane that an agent makes, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

import aiohttp
import msgspec

from common.loopback import LoopbackResolver
from common.messages import DesiredState, StatusReport
from common.wire import MalformedMessageError, decode, encode

if TYPE_CHECKING:
    from types import TracebackType

    from common.secret import Secret

REPORT_SECONDS_MAX = 10.0
EXTEND_SECONDS_MAX = 10.0  # somebody waits for it at a terminal
POLL_SECONDS = 25.0
"""How long the control plane may hold a long poll; shorter than middleboxes' usual 30–60 s."""
POLL_SECONDS_MAX = POLL_SECONDS + 10.0
REPLY_BYTES_MAX = 4 * 1024 * 1024
_REPORT_PATH = "/api/agent/v1/status"
_DESIRED_PATH = "/api/agent/v1/desired"
_LIFESPAN_PATH = "/api/agent/v1/lifespan"
_OK, _NO_CONTENT, _UNAUTHORIZED, _CONFLICT = 200, 204, 401, 409
_SENTENCE_CHARACTERS_MAX = 500


class ControlPlaneAwayError(Exception):
    """No usable answer: not reachable, too slow, broken, or not wanting. Try again later."""


class TokenRefusedError(ControlPlaneAwayError):
    """It doesn't take the token, now. Tried again all the same: its keys may be late."""


class CannotExtendError(Exception):
    """The control plane doesn't extend the session; its sentence says why. No retry helps."""


class ControlPlane(Protocol):
    """What the agent asks of the control plane. Every call raises ControlPlaneAwayError."""

    async def report(self, status: StatusReport) -> DesiredState:
        """Deliver a status; return the desired state. Harmless to repeat."""
        ...

    async def desired(self, *, after: int) -> DesiredState | None:
        """Return the desired state as soon as its version isn't `after`; None if it stays so."""
        ...

    async def extend(self) -> DesiredState:
        """Extend the session by one lifespan, counted from now; raise CannotExtendError."""
        ...

    def renew(self, token: Secret) -> None:
        """Use this token from the next call on."""
        ...


class HttpControlPlane:
    """A ControlPlane at a URL."""

    def __init__(self, url: str, token: Secret) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=LoopbackResolver(), limit=4)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.close()

    def renew(self, token: Secret) -> None:
        self._token = token

    async def report(self, status: StatusReport) -> DesiredState:
        answer = await self._call(
            "PUT", _REPORT_PATH, limit_seconds=REPORT_SECONDS_MAX, body=encode(status)
        )
        return _present(_parse(*answer))

    async def desired(self, *, after: int) -> DesiredState | None:
        path = f"{_DESIRED_PATH}?after={after}&waitSeconds={POLL_SECONDS:.0f}"
        return _parse(*await self._call("GET", path, limit_seconds=POLL_SECONDS_MAX))

    async def extend(self) -> DesiredState:
        status, data = await self._call("POST", _LIFESPAN_PATH, limit_seconds=EXTEND_SECONDS_MAX)
        if status == _CONFLICT:
            raise CannotExtendError(_sentence(data))
        return _present(_parse(status, data))

    async def _call(
        self, method: str, path: str, *, limit_seconds: float, body: bytes | None = None
    ) -> tuple[int, bytes]:
        """Return status and body. The one place where foreign errors become ours."""
        try:
            async with self._http.request(
                method,
                self._url + path,
                data=body,
                headers={
                    "Authorization": f"Bearer {self._token.reveal()}",
                    "Content-Type": "application/json",
                },
                timeout=aiohttp.ClientTimeout(total=limit_seconds),
                allow_redirects=False,  # a redirect would carry the token elsewhere
            ) as response:
                return response.status, await _read(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ControlPlaneAwayError(f"{type(error).__name__}: {error}") from None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        data += chunk
        if len(data) > REPLY_BYTES_MAX:
            raise ControlPlaneAwayError(f"a reply is larger than {REPLY_BYTES_MAX} bytes")
    return bytes(data)


def _parse(status: int, data: bytes) -> DesiredState | None:
    if status == _NO_CONTENT:
        return None
    if status == _UNAUTHORIZED:
        raise TokenRefusedError("the control plane refuses the agent's token (401)")
    if status != _OK:
        text = data[:200].decode("utf-8", errors="replace")
        raise ControlPlaneAwayError(f"the control plane answers {status}: {text}")
    try:
        return decode(data, DesiredState)
    except MalformedMessageError as error:
        raise ControlPlaneAwayError(f"the reply is no desired state: {error}") from None


def _present(reply: DesiredState | None) -> DesiredState:
    if reply is None:
        raise ControlPlaneAwayError("the reply is empty")
    return reply


class _Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """The body of an error."""

    message: str


def _sentence(data: bytes) -> str:
    try:
        return decode(data, _Refusal).message[:_SENTENCE_CHARACTERS_MAX]
    except MalformedMessageError:
        return "The control plane refuses, and doesn't say why."
