"""The two doors that aren't for people: parking a tunnel, and the agent's own endpoints.

Both take a bearer token and no cookie. What a page can make a browser send never opens them.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

from common.http1.fields import end_to_end
from common.http1.join import join
from common.http1.site import Forward, Switch
from common.ids import RunNumber, parse_session_id
from common.tokens import (
    AGENT_AUDIENCE,
    AgentClaims,
    InvalidTokenError,
    StudioClaims,
    studio_audience,
)
from connect_proxy import origin, rewrite
from connect_proxy.parked import ParkedConnection
from connect_proxy.presence import PersonalCall

if TYPE_CHECKING:
    from common.http1.head import RequestHead
    from common.http1.relay import Downstream
    from common.http1.replies import Reply
    from common.http1.upstream import Upstream
    from common.tokens import TokenVerifier
    from connect_proxy.metrics import EdgeCounters
    from connect_proxy.presence import Presence
    from connect_proxy.refusals import Refusals
    from connect_proxy.routing import SessionRoute
    from connect_proxy.sessions import SessionDirectory
    from connect_proxy.tunnels import Tunnels

TUNNEL_PATH = b"/_connect/tunnel"
TUNNEL_PROTOCOL = b"studio-tunnel/1"
_RETRY_AFTER_SECONDS = 5


class Gates:
    """See the module."""

    def __init__(
        self,
        *,
        scheme: bytes,
        verifier: TokenVerifier,
        directory: SessionDirectory,
        tunnels: Tunnels,
        presence: Presence,
        counters: EdgeCounters,
        refusals: Refusals,
    ) -> None:
        self._scheme = scheme
        self._verifier = verifier
        self._directory = directory
        self._tunnels = tunnels
        self._presence = presence
        self._counters = counters
        self._refusals = refusals

    def reserved(
        self, downstream: Downstream, head: RequestHead, place: SessionRoute
    ) -> Reply | Forward:
        """Pass a call of the agent's own endpoints, for bearers of the right token only."""
        try:
            claims = self._verifier.verify(
                bearer(head), StudioClaims, audience=studio_audience(place.session_id)
            )
        except InvalidTokenError as error:
            return self._refusals.refuse(
                downstream, head, 401, "studio_token", f"{error}".capitalize() + "."
            )
        why = origin.of_another_page(head, self._scheme + b"://" + place.host.encode())
        if why:
            return self._refusals.refuse(downstream, head, 403, "origin", why)
        # So that `Presence.recheck` can end it; a follower with the right asks for a new token.
        call = PersonalCall(place.session_id) if claims.sub else None
        downstream.context = call
        rewritten = rewrite.to_session(
            head,
            cookies=b"",
            client=downstream.client,
            scheme=self._scheme,
            request_id=downstream.request_id,
            claims=None,
        )
        forward = Forward(self._tunnels.of(place.session_id), rewritten, end_to_end)
        if head.is_websocket and call is not None:
            forward.joined = functools.partial(self._joined, call)
        return forward

    def _joined(
        self,
        call: PersonalCall,
        client: Downstream,
        upstream: Upstream,
        from_client: bytes,
        from_server: bytes,
    ) -> None:
        self._counters.websockets += 1
        transport = client.transport
        self._presence.call_joined(call, transport)
        join(
            transport,
            upstream.release_transport(),
            from_client=from_client,
            from_server=from_server,
            on_end=lambda: self._presence.call_left(call, transport),
        )

    def tunnel(
        self, downstream: Downstream, head: RequestHead, *, draining: bool
    ) -> Reply | Switch:
        """Park a connection of an agent, see docs/tunnel-protocol.md."""
        if head.fields.get(b"upgrade", b"").strip().lower() != TUNNEL_PROTOCOL:
            reply = self._refusals.refuse(
                downstream, head, 426, "tunnel_version", "This edge speaks studio-tunnel/1."
            )
            return _with_field(reply, b"Upgrade", TUNNEL_PROTOCOL)
        try:
            claims = self._verifier.verify(bearer(head), AgentClaims, audience=AGENT_AUDIENCE)
            session_id = parse_session_id(claims.sid)
        except (InvalidTokenError, ValueError) as error:
            return self._refusals.refuse(
                downstream, head, 401, "agent_token", f"{error}".capitalize() + "."
            )
        session = self._directory.get(session_id)
        if session is None and self._directory.known:
            return self._refusals.refuse(
                downstream, head, 404, "agent_session", "There is no such session."
            )
        tunnels = self._tunnels.of(session_id)
        run = RunNumber(claims.run)
        newest = session.run_number if session is not None else 0
        if run < newest or not tunnels.admit(run):
            return self._refusals.refuse(
                downstream, head, 409, "old_run", "A newer run is connected."
            )
        if draining or tunnels.full:
            reply = self._refusals.refuse(
                downstream, head, 503, "tunnel_full", "This edge takes no more."
            )
            return _with_field(reply, b"Retry-After", b"%d" % _RETRY_AFTER_SECONDS)
        connection = ParkedConnection(tunnels, run)
        accepted = (
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %b\r\n"
            b"Studio-Tunnel-Want: %d\r\n\r\n"
        )
        return Switch(accepted % (TUNNEL_PROTOCOL, tunnels.wanted), connection.adopt)


def _with_field(reply: Reply, name: bytes, value: bytes) -> Reply:
    return replace(reply, headers=(*reply.headers, (name, value)))


def bearer(head: RequestHead) -> str:
    kind, _, token = head.fields.get(b"authorization", b"").partition(b" ")
    return token.strip().decode("latin-1") if kind.lower() == b"bearer" else ""
