"""What happens to one request at the edge.

In this order, and nothing is said before its turn:

1. its head is valid (`common.http1.head`) and names one of our hosts;
2. somebody is signed in for that host: else a redirect for people, 401 for programs;
3. the session exists, the person may use it, it runs;
4. the request comes from the session's own page where that matters (`origin`);
5. it goes down a tunnel with our fields instead of the client's.

The usual request takes no await: everything it needs is in memory.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

from common.http1.join import join
from common.http1.site import Decision, Forward, Later, Switch
from connect_proxy import cookies, origin, pages, rewrite
from connect_proxy.gates import TUNNEL_PATH
from connect_proxy.login import CALLBACK_PATH
from connect_proxy.routing import PlatformRoute, Route, SessionRoute, UnknownRoute, route
from connect_proxy.shares import Shares, holder

if TYPE_CHECKING:
    from common.http1.head import Headers, RequestHead, ResponseHead
    from common.http1.listener import Listener
    from common.http1.relay import Downstream
    from common.http1.replies import Reply
    from common.http1.upstream import Upstream
    from common.tasks import TaskBag
    from connect_proxy.config import EdgeConfig
    from connect_proxy.gates import Gates
    from connect_proxy.grants import Grant, Grants
    from connect_proxy.login import Login
    from connect_proxy.metrics import EdgeCounters
    from connect_proxy.platform import PlatformDoor
    from connect_proxy.presence import Presence
    from connect_proxy.refusals import Refusals
    from connect_proxy.renewals import Renewals
    from connect_proxy.sessions import SessionDirectory
    from connect_proxy.tunnels import Tunnels

_IDLE_SECONDS_MAX = 75.0
"""Longer than the 60 s after which common load balancers drop idle connections: the side that sends
requests should be the one that closes."""

_CROWD_MAX = 256
"""Connections that are being told that there are too many; more get no answer."""

_HOST_BYTES_MAX = 261
"""The longest name of the DNS, with a port."""

_SERVED = ("running", "starting")
"""While starting, the gateway itself shows how far the tool is, once its tunnel is there."""


class EdgeSite:
    """Decides for every request; see the module."""

    idle_seconds_max = _IDLE_SECONDS_MAX

    def __init__(
        self,
        *,
        config: EdgeConfig,
        platform: PlatformDoor,
        directory: SessionDirectory,
        tunnels: Tunnels,
        grants: Grants,
        login: Login,
        presence: Presence,
        renewals: Renewals,
        counters: EdgeCounters,
        refusals: Refusals,
        gates: Gates,
        listener: Listener,
        tasks: TaskBag,
    ) -> None:
        self.tasks = tasks
        self._platform = platform
        self._directory = directory
        self._tunnels = tunnels
        self._grants = grants
        self._login = login
        self._presence = presence
        self._renewals = renewals
        self._counters = counters
        self._refusals = refusals
        self._gates = gates
        self._listener = listener
        self._names = cookies.CookieNames.for_scheme(config.public_scheme)
        self._scheme = config.public_scheme.encode()
        self._platform_origin = config.platform_origin
        self._frame_ancestors = f"frame-ancestors 'self' {config.platform_origin}".encode()
        self._route = functools.lru_cache(maxsize=4096)(
            lambda host: route(host, config.connect_domain)
        )
        self._of_clients = Shares(config.client_connections_max)
        self._crowd: set[Downstream] = set()
        """Connections over their address's limit; they get an answer and end."""
        self.draining = False

    def opened(self, downstream: Downstream) -> None:
        self._listener.opened(downstream)
        if not self._of_clients.take(holder(downstream.client)):
            self._crowd.add(downstream)
            if len(self._crowd) > _CROWD_MAX:
                downstream.transport.abort()
            else:
                downstream.turn_away("Too many connections come from your address. Try again.")

    def closed(self, downstream: Downstream) -> None:
        self._listener.closed(downstream)
        if downstream in self._crowd:
            self._crowd.discard(downstream)
        else:
            self._of_clients.give_back(holder(downstream.client))

    def failure(
        self, downstream: Downstream, head: RequestHead | None, status: int, sentence: str
    ) -> Reply:
        return self._refusals.failure(downstream, head, status, sentence)

    # ── deciding ─────────────────────────────────────────────────────────────

    def decide(self, downstream: Downstream, head: RequestHead) -> Decision:
        downstream.request_id = self._refusals.new_id()
        downstream.context = None
        if self.draining:
            downstream.close_after = True
        if not head.target.startswith(b"/"):
            return self._odd_target(downstream, head)
        if head.target == TUNNEL_PATH:  # whatever the host: agents may dial an internal address
            return self._gates.tunnel(downstream, head, draining=self.draining)
        host = head.fields.get(b"host", b"")
        # Not looked up if it is longer than any name: the cache would keep what clients make up.
        destination: Route = self._route(host) if len(host) <= _HOST_BYTES_MAX else UnknownRoute()
        match destination:
            case SessionRoute():
                return self._session(downstream, head, destination)
            case PlatformRoute():
                return self._platform.decide(downstream, head)
            case UnknownRoute():
                return self._refusals.refuse(
                    downstream, head, 421, "unknown_host", "No session is here."
                )

    def _odd_target(self, downstream: Downstream, head: RequestHead) -> Decision:
        if head.method == b"OPTIONS" and head.target == b"*":
            return self._refusals.refuse(
                downstream, head, 405, "target", "Ask about a path, not about *."
            )
        return self._refusals.refuse(
            downstream, head, 400, "target", "The request's target has to be a path on this host."
        )

    def _session(self, downstream: Downstream, head: RequestHead, place: SessionRoute) -> Decision:
        target = head.target
        if target.startswith(b"/.studio/"):
            return self._gates.reserved(downstream, head, place)
        jar = cookies.read(head.all(b"cookie"), self._names)
        if target.startswith(b"/_connect/"):
            if head.path == CALLBACK_PATH and head.method == b"GET":
                return Later(self._login.finish(head, place, jar, downstream.request_id))
            return self._refusals.refuse(
                downstream, head, 404, "reserved", "There is nothing here."
            )
        session = self._directory.get(place.session_id)
        version = session.access_version if session is not None else 0
        grant = self._grants.find(jar.connect, place.host, version)
        if grant is None:
            return self._signed_out(downstream, head, place, jar)
        if self._is_aged(grant, version):
            return Later(self._renewed(downstream, head, place, jar, version))
        return self._granted(downstream, head, place, jar, grant, ())

    def _is_aged(self, grant: Grant, version: int) -> bool:
        return grant.claims.av < version or self._grants.now() > grant.renew_at

    def _signed_out(
        self, downstream: Downstream, head: RequestHead, place: SessionRoute, jar: cookies.CookieJar
    ) -> Reply:
        if origin.is_navigation(head):
            return self._login.begin(head, place, jar)
        return self._refusals.refuse(
            downstream,
            head,
            401,
            "signed_out",
            "You are not signed in here. Open the session in the browser to sign in.",
        )

    async def _renewed(
        self,
        downstream: Downstream,
        head: RequestHead,
        place: SessionRoute,
        jar: cookies.CookieJar,
        version: int,
    ) -> Reply | Forward | Switch:
        """Go on with a renewed token; an old one will do while nobody's rights have changed.

        The first candidate that lets its person in counts; what a sibling planted must not.
        """
        refused: Grant | None = None
        unverified = False
        for grant in self._grants.candidates(jar.connect, place.host, version):
            fresh: Grant | None = grant
            if self._is_aged(grant, version):
                fresh = await self._renewals.renew(grant, place.host, version)
            if fresh is None:
                continue
            if fresh is grant and grant.claims.av < version:
                unverified = True
            elif fresh.claims.refused:
                refused = refused or fresh
            else:
                renewed = () if fresh is grant else (self._names.set_connect(fresh.token),)
                return self._granted(downstream, head, place, jar, fresh, renewed)
        if refused is not None:
            return self._granted(downstream, head, place, jar, refused, ())
        if unverified:
            return self._refusals.refuse(
                downstream,
                head,
                503,
                "unverified",
                "Access to this session was changed and can't be checked right now. Try again.",
            )
        reply = self._signed_out(downstream, head, place, jar)
        return replace(reply, headers=(*reply.headers, (b"Set-Cookie", self._names.drop_connect())))

    def _granted(
        self,
        downstream: Downstream,
        head: RequestHead,
        place: SessionRoute,
        jar: cookies.CookieJar,
        grant: Grant,
        set_cookies: tuple[bytes, ...],
    ) -> Reply | Forward:
        session = self._directory.get(place.session_id)
        if session is None:
            if not self._directory.known:
                return self._refusals.refuse(
                    downstream, head, 503, "no_feed", "The edge has just started. Try again."
                )
            return self._refusals.refuse(
                downstream, head, 404, "unknown", "There is no such session."
            )
        if grant.claims.refused:
            return self._refusals.refuse(downstream, head, 403, "refused", grant.claims.refused)
        why = origin.refusal(head, self._scheme + b"://" + place.host.encode())
        if why:
            return self._refusals.refuse(downstream, head, 403, "origin", why)
        served = session.status in _SERVED and (
            session.status == "running" or self._tunnels.has(place.session_id)
        )
        if not served:
            self._counters.refused["not_running"] += 1
            return pages.not_running(
                session,
                navigation=origin.is_navigation(head),
                request_id=downstream.request_id,
                platform_origin=self._platform_origin,
            )
        return self._to_session(downstream, head, place, jar, grant, set_cookies)

    # ── forwarding ───────────────────────────────────────────────────────────

    def _to_session(
        self,
        downstream: Downstream,
        head: RequestHead,
        place: SessionRoute,
        jar: cookies.CookieJar,
        grant: Grant,
        set_cookies: tuple[bytes, ...],
    ) -> Reply | Forward:
        visit = self._presence.seen(place.session_id, place.host, grant)
        if visit is None:
            return self._refusals.refuse(
                downstream, head, 503, "people", "Too many people use this edge. Try again."
            )
        downstream.context = visit
        self._counters.requests += 1
        rewritten = rewrite.to_session(
            head,
            cookies=jar.rest,
            client=downstream.client,
            scheme=self._scheme,
            request_id=downstream.request_id,
            claims=grant.claims,
        )
        frame_ancestors = self._frame_ancestors

        def respond(response: ResponseHead) -> Headers:
            return rewrite.from_session(
                response, set_cookies=set_cookies, frame_ancestors=frame_ancestors
            )

        forward = Forward(self._tunnels.of(place.session_id), rewritten, respond)
        if head.is_websocket:

            def joined(
                client: Downstream, upstream: Upstream, from_client: bytes, from_server: bytes
            ) -> None:
                self._counters.websockets += 1
                transport = client.transport
                visit.websockets.add(transport)
                join(
                    transport,
                    upstream.release_transport(),
                    from_client=from_client,
                    from_server=from_server,
                    on_end=lambda: visit.websockets.discard(transport),
                )

            forward.joined = joined
        return forward
