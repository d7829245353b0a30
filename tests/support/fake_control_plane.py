"""A control plane as an agent sees it: it notes reports, answers with a desired state, misbehaves.

`FakeControlPlane` is a `ControlPlane` in memory, for tests that step the clock; `serving` puts the
same object behind HTTP, for agents in processes of their own.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from agent.control_plane import CannotExtendError, ControlPlaneAwayError, TokenRefusedError
from common.ids import RunNumber
from common.messages import DesiredState, RunPhase, RunState, StatusReport
from common.secret import Secret
from common.wire import decode, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from common.session_spec import SessionSettings

RUN = RunNumber(3)
TOKEN = Secret("agent-token")
REPORT_SECONDS_MAX = 45.0  # for a failing test; others wait less, even on a busy machine
FIRST_END = datetime(2030, 1, 1, 8, tzinfo=UTC)
"""Each extension is eight hours later."""


class Mood(Enum):
    """How it takes the next reports."""

    WELL = auto()
    AWAY = auto()
    """Nothing arrives."""
    LOSES_REPLIES = auto()
    """Reports arrive, the replies don't."""
    REFUSES_TOKEN = auto()
    BROKEN = auto()
    """500."""


class FakeControlPlane:
    """Tests read `reports` and call `wish`."""

    def __init__(self) -> None:
        self.reports: list[StatusReport] = []
        self.tokens: list[Secret] = []
        self.mood = Mood.WELL
        self.wished = DesiredState(version=1, run_number=RUN, run_state=RunState.RUN)
        self.replies: list[DesiredState] = []
        """Answers to the next reports, in place of the state wished for: old, or another run's."""
        self.token = TOKEN
        self.refusal = ""
        """Why the session can't be extended, if it can't."""
        self.extensions = 0
        self.url = ""
        self._news = asyncio.Condition()

    # ── What tests do ────────────────────────────────────────────────────────

    async def wish(self, run_state: RunState, reason: str = "") -> None:
        """Want another state from now on; long polls hear of it."""
        async with self._news:
            self.wished = msgspec.structs.replace(
                self.wished,
                version=self.wished.version + 1,
                run_state=run_state,
                stop_reason=reason,
            )
            self._news.notify_all()

    def set(self, settings: SessionSettings) -> None:
        """Have these settings, which win over those of the spec; before the agent starts."""
        self.wished = msgspec.structs.replace(self.wished, settings=settings)

    async def reported(self, wanted: Callable[[StatusReport], bool]) -> StatusReport:
        """Wait for a report like that, and return the first one; not after one that it failed."""

        def found_or_failed() -> bool:
            return any(wanted(report) or report.phase is RunPhase.FAILED for report in self.reports)

        async with self._news, asyncio.timeout(REPORT_SECONDS_MAX):
            await self._news.wait_for(found_or_failed)
        found = [report for report in self.reports if wanted(report)]
        assert found, f"the run has failed: {self.reports[-1].message}"
        return found[0]

    async def reached(self, phase: RunPhase) -> StatusReport:
        return await self.reported(lambda report: report.phase is phase)

    # ── What the agent does: a ControlPlane ──────────────────────────────────

    def renew(self, token: Secret) -> None:
        self.token = token

    async def report(self, status: StatusReport) -> DesiredState:
        if self.mood is Mood.AWAY:
            raise ControlPlaneAwayError("away")
        self.tokens.append(self.token)
        if self.mood is Mood.REFUSES_TOKEN:
            raise TokenRefusedError("refused")
        if self.mood is Mood.BROKEN:
            raise ControlPlaneAwayError("500")
        async with self._news:
            self.reports.append(status)
            self._news.notify_all()
        if self.mood is Mood.LOSES_REPLIES:
            raise ControlPlaneAwayError("the reply is lost")
        return self.replies.pop(0) if self.replies else self.wished

    async def desired(self, *, after: int) -> DesiredState | None:
        if self.mood is not Mood.WELL:
            raise ControlPlaneAwayError(self.mood.name)
        async with self._news:
            await self._news.wait_for(lambda: self.wished.version != after)
            return self.wished

    async def extend(self) -> DesiredState:
        if self.mood is not Mood.WELL:
            raise ControlPlaneAwayError(self.mood.name)
        if self.refusal:
            raise CannotExtendError(self.refusal)
        async with self._news:
            self.extensions += 1
            self.wished = msgspec.structs.replace(
                self.wished,
                version=self.wished.version + 1,
                deadline=FIRST_END + self.extensions * timedelta(hours=8),
            )
            self._news.notify_all()
            return self.wished


@asynccontextmanager
async def serving() -> AsyncIterator[FakeControlPlane]:
    """Serve one over HTTP on a free port; its `url` says where."""
    fake = FakeControlPlane()

    async def status(request: web.Request) -> web.Response:
        report = decode(await request.read(), StatusReport)
        fake.token = _bearer(request)
        return await _answer(fake.report(report))

    async def desired(request: web.Request) -> web.Response:
        return await _answer(fake.desired(after=int(request.query["after"])))

    async def extend(request: web.Request) -> web.Response:
        try:
            return await _answer(fake.extend())
        except CannotExtendError as error:
            return web.Response(status=409, body=encode({"message": str(error)}))

    app = web.Application()
    app.router.add_put("/api/agent/v1/status", status)
    app.router.add_get("/api/agent/v1/desired", desired)
    app.router.add_post("/api/agent/v1/lifespan", extend)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()


async def _answer(reply: Awaitable[DesiredState | None]) -> web.Response:
    try:
        state = await reply
    except TokenRefusedError:
        return web.Response(status=401)
    except ControlPlaneAwayError:
        return web.Response(status=500)
    if state is None:
        return web.Response(status=204)
    return web.Response(body=encode(state), content_type="application/json")


def _bearer(request: web.Request) -> Secret:
    return Secret(request.headers["Authorization"].removeprefix("Bearer "))
