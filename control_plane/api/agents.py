"""Handlers: what agents report, and what they are told to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec

from common.ids import RunNumber, SessionId
from control_plane.api.route import Call, Parameters
from control_plane.errors import NotFoundError, RefusedError
from control_plane.login.gates import NotLoggedInError

if TYPE_CHECKING:
    from common.messages import DesiredState, StatusReport
    from common.tokens import AgentClaims
    from control_plane.api.streams import Streams
    from control_plane.service import StudioService

WAIT_SECONDS_MAX = 60.0
"""Longer silences are cut by middleboxes."""


class DesiredParameters(Parameters, frozen=True, kw_only=True):
    """What the agent knows, and how long it is ready to wait for something else."""

    after: Annotated[int, msgspec.Meta(ge=-1, le=2**31 - 1)] = -1
    wait_seconds: Annotated[float, msgspec.Meta(ge=0, le=WAIT_SECONDS_MAX)] = 0.0


@dataclass(frozen=True, slots=True)
class AgentHandlers:
    """Each takes a checked call and asks the service."""

    service: StudioService
    streams: Streams

    async def report_status(
        self, call: Call[AgentClaims, Parameters, StatusReport]
    ) -> DesiredState:
        """Take the whole observed state; the reply is the whole desired state."""
        session_id, run = SessionId(call.who.sid), RunNumber(call.who.run)
        report = call.body
        if (report.session_id, report.run_number) != (session_id, run):
            raise RefusedError(
                f"This agent's token is for run {run} of session {session_id}, not for run "
                f"{report.run_number} of {report.session_id}."
            )
        try:
            return await self.service.record_report(
                session_id, run, report, token_issued_at=_issued_at(call.who)
            )
        except NotFoundError:
            raise _deleted(session_id) from None

    async def wait_desired(
        self, call: Call[AgentClaims, DesiredParameters, None]
    ) -> DesiredState | None:
        """Answer as soon as the desired state's version is another; 204 if it stays."""
        desired: DesiredState | None = None
        async with self.streams.until_closed():
            desired = await self._desired(call)
        return desired

    async def extend_own_session(self, call: Call[AgentClaims, Parameters, None]) -> DesiredState:
        """Let the token's session live longer; the reply's deadline is its new end."""
        session_id = SessionId(call.who.sid)
        try:
            return await self.service.extend_own_session(
                session_id, RunNumber(call.who.run), token_issued_at=_issued_at(call.who)
            )
        except NotFoundError:
            raise _deleted(session_id) from None

    async def _desired(
        self, call: Call[AgentClaims, DesiredParameters, None]
    ) -> DesiredState | None:
        try:
            return await self.service.wait_desired(
                SessionId(call.who.sid),
                RunNumber(call.who.run),
                after=call.parameters.after,
                wait_seconds=0.0 if self.streams.is_full else call.parameters.wait_seconds,
                token_issued_at=_issued_at(call.who),
            )
        except NotFoundError:
            raise _deleted(SessionId(call.who.sid)) from None


def _deleted(session_id: SessionId) -> NotLoggedInError:
    """The token outlives its Studio, and is worth nothing any more."""
    return NotLoggedInError(f"The Studio {session_id} was deleted, and its agents' tokens with it.")


def _issued_at(claims: AgentClaims) -> datetime:
    return datetime.fromtimestamp(claims.iat, UTC)
