"""The way to the control plane: its page, its API, agents' calls.

It has few connections compared with how many clients there may be, so nobody may hold one for
nothing: short bodies have to be here whole before one is taken, long ones share a few, each client
address has a limit. Agents and edges have connections of their own: what people do, or do to us,
doesn't keep their reports away.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from common.http1.fields import end_to_end
from common.http1.lane import DialledLane
from common.http1.site import Forward, Patience
from common.tokens import (
    AGENT_AUDIENCE,
    EDGE_AUDIENCE,
    AgentClaims,
    EdgeClaims,
    InvalidTokenError,
)
from connect_proxy import rewrite
from connect_proxy.gates import bearer
from connect_proxy.shares import Shares, holder

if TYPE_CHECKING:
    from common.http1.head import Headers, RequestHead, ResponseHead
    from common.http1.lane import Address
    from common.http1.relay import Downstream
    from common.http1.replies import Reply
    from common.tokens import TokenVerifier
    from connect_proxy.config import EdgeConfig
    from connect_proxy.refusals import Refusals

_PROGRAMS = (b"/api/agent/", b"/api/edge/")
_NAME = "The platform"
_LONG_BODIES_MAX = 64
_EACH_PROGRAM_MAX = 16
"""Exchanges in progress of one agent: a report, a wait for its orders, and some that broke."""
SHORT_BODY_BYTES_MAX = 64 * 1024
BODY_SILENT_SECONDS_MAX = 10.0
BODY_SECONDS_MAX = 60.0
"""For at most 1 MiB, which is what the control plane takes."""

_SHORT = Patience(BODY_SILENT_SECONDS_MAX, BODY_SECONDS_MAX, gather=True)
_LONG = Patience(BODY_SILENT_SECONDS_MAX, BODY_SECONDS_MAX)


class PlatformDoor:
    """See the module."""

    def __init__(
        self, address: Address, *, config: EdgeConfig, verifier: TokenVerifier, refusals: Refusals
    ) -> None:
        self._scheme = config.public_scheme.encode()
        self._verifier = verifier
        self._refusals = refusals
        self.people = DialledLane(address, name=_NAME)
        self.long_bodies = DialledLane(address, name=_NAME, connections_max=_LONG_BODIES_MAX)
        self.programs = DialledLane(address, name=_NAME)
        self.of_clients = Shares(config.client_exchanges_max)
        self.of_programs = Shares(_EACH_PROGRAM_MAX)

    def decide(self, downstream: Downstream, head: RequestHead) -> Reply | Forward:
        lane, patience = self.people, _SHORT
        long = head.chunked or (head.content_length or 0) > SHORT_BODY_BYTES_MAX
        if long or b"expect" in head.fields:  # who expects sends nothing before the platform spoke
            lane, patience = self.long_bodies, _LONG
        shares, name = self.of_clients, holder(downstream.client)
        if head.target.startswith(_PROGRAMS):
            program = self._program(head)
            if program:
                lane, shares, name = self.programs, self.of_programs, program
        if not shares.take(name):
            sentence = "Too many requests from your address are in progress. Try again."
            return self._refusals.refuse(downstream, head, 503, "client_exchanges", sentence)
        rewritten = rewrite.to_platform(
            head, client=downstream.client, scheme=self._scheme, request_id=downstream.request_id
        )
        ended = functools.partial(shares.give_back, name)
        return Forward(lane, rewritten, _respond, patience=patience, ended=ended)

    def _program(self, head: RequestHead) -> str:
        """Name the agent or edge that calls; empty when the bearer is neither, or not proven."""
        token = bearer(head)
        if not token:
            return ""
        try:
            agent = self._verifier.verify(token, AgentClaims, audience=AGENT_AUDIENCE)
        except InvalidTokenError:
            pass
        else:
            return f"agent {agent.sid}"
        try:
            edge = self._verifier.verify(token, EdgeClaims, audience=EDGE_AUDIENCE)
        except InvalidTokenError:
            return ""
        return f"edge {edge.edge}"

    def sweep(self, now: float) -> None:
        for lane in (self.people, self.long_bodies, self.programs):
            lane.sweep(now)

    def close(self) -> None:
        for lane in (self.people, self.long_bodies, self.programs):
            lane.close()


def _respond(head: ResponseHead) -> Headers:
    return end_to_end(head)
