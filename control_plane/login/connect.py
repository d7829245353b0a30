"""`/connect/authorize`: carries the page's login over to a session's host.

The edge sends the browser here because it can't see the page's cookie; from here it goes back with
a code. Nothing about the session is said on the way: a person whom `may()` refuses, or who asks
for a session that doesn't exist, gets a code like everybody, and learns the rest from the edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from aiohttp import web

from control_plane.errors import InvalidError
from control_plane.login import html
from control_plane.login.redirects import login_path, parse_path, parse_session_host

if TYPE_CHECKING:
    from control_plane.login.codes import LoginCodes
    from control_plane.login.gates import Members

STATE_LENGTH_MAX = 256
"""The edge's nonce is far shorter."""


@dataclass(frozen=True, slots=True)
class ConnectPages:
    """The control plane's half of the hand-over."""

    codes: LoginCodes
    members: Members
    connect_domain: str
    session_scheme: str

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/connect/authorize", self.authorize, allow_head=False)]

    async def authorize(self, request: web.Request) -> web.StreamResponse:
        host = request.query.get("host", "")
        then = parse_path(request.query.get("return", "/"))
        state = request.query.get("state", "")
        if parse_session_host(host, self.connect_domain) is None:
            raise InvalidError(
                f"This address doesn’t name a session of {self.connect_domain}: "
                "open the Studio from your list again."
            )
        if then is None or not state.isascii() or len(state) > STATE_LENGTH_MAX:
            raise InvalidError("This address is damaged: open the Studio from your list again.")
        person = await self.members.by_cookie(request)
        if person is None:
            return html.redirect(login_path(request.raw_path))
        code = await self.codes.create(person.id, host)
        query = urlencode({"code": code.reveal(), "return": then, "state": state})
        return html.redirect(f"{self.session_scheme}://{host}/_connect/callback?{query}")
