"""Finds out who calls: a person, an agent, an edge, or anybody.

A person comes with an API token or with the page's cookie. The cookie is sent by the browser
whoever wrote the page that makes the call, and a hostile session is same-site with ours, so
SameSite does not help. Calls that change something therefore need two things that only our own
page can send: our `Origin`, and a header that a cross-origin page may not set without being
allowed to (we allow nobody).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.tokens import (
    AGENT_AUDIENCE,
    EDGE_AUDIENCE,
    AgentClaims,
    EdgeClaims,
    InvalidTokenError,
    TokenVerifier,
)
from control_plane.errors import RefusedError, StudiosError

if TYPE_CHECKING:
    from aiohttp import web

    from control_plane.login.api_tokens import ApiTokens
    from control_plane.login.cookies import PageCookie
    from control_plane.login.page_sessions import PageSessions
    from control_plane.model import Person

REQUEST_HEADER = "X-Studios-Request"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_BEARER = "bearer "


class NotLoggedInError(StudiosError):
    """Nobody we know: no credential, or one that is over."""


def bearer_token(request: web.Request) -> str | None:
    """Return the request's bearer token (RFC 6750), or None if it has none."""
    header = request.headers.get("Authorization", "")
    return header[len(_BEARER) :].strip() if header.lower().startswith(_BEARER) else None


def is_same_origin(request: web.Request, origin: str) -> bool:
    """Say whether a page of ours made the request, as browsers tell and scripts can't fake."""
    return request.headers.getall("Origin", []) == [origin]


@dataclass(frozen=True, slots=True)
class Anybody:
    """Open to everybody."""

    scheme: str = ""

    async def admit(self, request: web.Request) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Members:
    """Members of the workspace."""

    api_tokens: ApiTokens
    page_sessions: PageSessions
    cookie: PageCookie
    origin: str
    """The page's own origin."""
    scheme: str = "apiToken pageCookie"

    async def admit(self, request: web.Request) -> Person:
        token = bearer_token(request)
        if token is not None:
            person = await self.api_tokens.find(token)
            if person is None:
                raise NotLoggedInError(
                    "The API token is not valid: it was revoked, or its user is gone. "
                    "Get a new one with `studios login`."
                )
            return person
        person = await self.by_cookie(request)
        if person is None:
            raise NotLoggedInError(
                "You are not logged in: open /login, or send an API token as "
                "`Authorization: Bearer <token>`."
            )
        if request.method not in _SAFE_METHODS:
            self._check_page(request)
        return person

    async def by_cookie(self, request: web.Request) -> Person | None:
        """Return who is logged in to the page in this browser."""
        values = self.cookie.values(request.headers.getall("Cookie", []))
        return await self.page_sessions.find(values)

    def _check_page(self, request: web.Request) -> None:
        if not is_same_origin(request, self.origin):
            raise RefusedError(
                f"Calls with the page's cookie must come from {self.origin}: "
                "use an API token elsewhere."
            )
        if request.headers.get(REQUEST_HEADER) != "1":
            raise RefusedError(
                f"Calls with the page's cookie need the header {REQUEST_HEADER}: 1; "
                "use an API token elsewhere."
            )


@dataclass(frozen=True, slots=True)
class Agents:
    """Agents, each for one run of one session."""

    verifier: TokenVerifier
    scheme: str = "agentToken"

    async def admit(self, request: web.Request) -> AgentClaims:
        try:
            return self.verifier.verify(
                bearer_token(request) or "", AgentClaims, audience=AGENT_AUDIENCE
            )
        except InvalidTokenError as error:
            raise NotLoggedInError(
                f"This call needs an agent's token, and {error}: start the Studio again."
            ) from None


@dataclass(frozen=True, slots=True)
class Edges:
    """Edges of this installation."""

    verifier: TokenVerifier
    scheme: str = "edgeToken"

    async def admit(self, request: web.Request) -> EdgeClaims:
        try:
            return self.verifier.verify(
                bearer_token(request) or "", EdgeClaims, audience=EDGE_AUDIENCE
            )
        except InvalidTokenError as error:
            raise NotLoggedInError(
                f"This call needs an edge's token, and {error}: give the edge a new one."
            ) from None
