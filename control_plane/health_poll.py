"""Polls every running session's health every 30 s, through the edge as users' requests go.

So "the agent reports, but users can't reach it" is seen, and what is not well with the session's
root and volume though they can. The result is kept on the Studio and shown; by itself it never
changes a status.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
import msgspec
import sqlalchemy as sa
import structlog
from yarl import URL

from common.loopback import LoopbackResolver
from common.tokens import StudioClaims, studio_audience
from common.wire import MalformedMessageError, decode
from control_plane.lifecycle import Outcome
from control_plane.model import HealthResult, Status

if TYPE_CHECKING:
    from control_plane.model import Studio
    from control_plane.reconciler import HealthProbe
    from control_plane.service import StudioService

PROBE_SECONDS_MAX = 10.0
TOKEN_SECONDS = 60.0
PROBES_MAX = 8
"""At a time; a hundred sessions that hang take two minutes, and nothing else waits for them."""
ANSWER_BYTES_MAX = 64 * 1024
MESSAGE_LENGTH_MAX = 300
_ROOT_IS_WELL = "ready"

_log = structlog.get_logger()


class _Volume(msgspec.Struct, frozen=True):
    message: str = ""


class _Answer(msgspec.Struct, frozen=True):
    """What matters here of the JSON at /.studio/health."""

    message: str = ""
    root: str | None = None
    """A word on the session's root: `ready`, or what is not well with it."""
    volume: _Volume | None = None

    @property
    def problems(self) -> str:
        """What somebody should look at, even if users can work."""
        volume = "" if self.volume is None else self.volume.message
        root = "" if self.root in {None, _ROOT_IS_WELL} else f"root: {self.root}"
        return "; ".join(filter(None, (self.message, volume, root)))


class EdgeProbe:
    """A HealthProbe over HTTP. `edge_url` is where the edge listens."""

    def __init__(self, service: StudioService, *, edge_url: str) -> None:
        self._core = service.core
        self._url = URL(edge_url.rstrip("/") + "/.studio/health")
        assert urlsplit(edge_url).scheme in {"http", "https"}, edge_url

    async def probe(self, studio: Studio) -> HealthResult:
        """Ask once; see `HealthProbe`."""
        try:
            async with asyncio.timeout(PROBE_SECONDS_MAX):
                ok, message = await self._ask(studio)
        except TimeoutError:
            ok, message = False, f"no answer through the edge in {PROBE_SECONDS_MAX:.0f} s"
        except (aiohttp.ClientError, OSError) as error:
            ok, message = False, f"no answer through the edge: {error}"
        return HealthResult(ok=ok, at=self._core.clock.now(), message=message[:MESSAGE_LENGTH_MAX])

    async def _ask(self, studio: Studio) -> tuple[bool, str]:
        headers = {
            "Host": self._core.settings.session_host(studio.session_id),
            "Authorization": f"Bearer {self._token(studio)}",
        }
        connector = aiohttp.TCPConnector(resolver=LoopbackResolver())
        async with aiohttp.ClientSession(connector=connector) as client:
            async with client.get(self._url, headers=headers, allow_redirects=False) as response:
                body = await response.content.read(ANSWER_BYTES_MAX)
        message = _problems(body)
        if response.status == HTTPStatus.OK:
            return True, message
        return False, message or f"the edge answered {response.status}"

    def _token(self, studio: Studio) -> str:
        now = self._core.signer.now()
        claims = StudioClaims(
            aud=studio_audience(studio.session_id),
            iat=now,
            exp=now + TOKEN_SECONDS,
            sid=studio.session_id,
            scope="health",
            sub="control-plane",
        )
        return self._core.signer.sign(claims)


class HealthPoll:
    """The loop over all running sessions."""

    def __init__(self, service: StudioService, probe: HealthProbe) -> None:
        self._core = service.core
        self._probe = probe
        self._turns = asyncio.Semaphore(PROBES_MAX)

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                await self.run_once()
            except sa.exc.DBAPIError as error:
                _log.warning("health_poll_postponed", error=str(error))
            await self._core.clock.sleep(self._core.settings.limits.health_poll_seconds)

    async def run_once(self) -> None:
        """Poll every running session once."""
        async with self._core.store.read() as transaction:
            studios = await transaction.restless_studios()
        async with asyncio.TaskGroup() as group:
            for studio in studios:
                if studio.status is Status.RUNNING:
                    group.create_task(self._poll(studio), name=f"probe-{studio.session_id}")

    async def _poll(self, studio: Studio) -> None:
        try:
            await self._ask(studio)
        except Exception:  # noqa: BLE001 - one session's trouble must never end the others' poll
            _log.exception("health_poll_failed", session_id=studio.session_id)

    async def _ask(self, studio: Studio) -> None:
        async with self._turns:
            result = await self._probe.probe(studio)
        run = studio.run_number

        def note(now: Studio) -> Outcome:
            is_same = now.run_number == run and now.status is Status.RUNNING
            return Outcome(msgspec.structs.replace(now, health=result) if is_same else now)

        await self._core.changes.apply(studio.session_id, note)


def _problems(body: bytes) -> str:
    try:
        return decode(body, _Answer).problems
    except MalformedMessageError:
        return ""
