"""The calls of agents, edges and probes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.edge_messages import PresenceReport, RedeemRequest, RenewRequest, TokenReply
from common.messages import DesiredState, StatusReport
from control_plane.api.agents import DesiredParameters
from control_plane.api.operations import HealthReply
from control_plane.api.route import NO_BODY, STREAM, AnyRoute, Parameters, Route

if TYPE_CHECKING:
    from control_plane.api.gates_and_handlers import Gates, Handlers


def program_routes(gates: Gates, handlers: Handlers) -> list[AnyRoute]:
    """What agents, edges and probes call."""
    return [
        Route(
            method="PUT",
            path="/api/agent/v1/status",
            summary="An agent's whole state; the reply is what it should do",
            gate=gates.agents,
            parameters=Parameters,
            body=StatusReport,
            reply=DesiredState,
            handler=handlers.agents.report_status,
        ),
        Route(
            method="GET",
            path="/api/agent/v1/desired",
            summary="Wait for another desired state; 204 if it stays",
            gate=gates.agents,
            parameters=DesiredParameters,
            body=NO_BODY,
            reply=DesiredState,
            handler=handlers.agents.wait_desired,
        ),
        Route(
            method="POST",
            path="/api/agent/v1/lifespan",
            summary="One more lifespan for the agent's session, counted from now",
            gate=gates.agents,
            parameters=Parameters,
            body=NO_BODY,
            reply=DesiredState,
            handler=handlers.agents.extend_own_session,
        ),
        Route(
            method="POST",
            path="/api/edge/v1/redeem",
            summary="A login code for a connect token; works once",
            gate=gates.edges,
            parameters=Parameters,
            body=RedeemRequest,
            reply=TokenReply,
            handler=handlers.edges.redeem_code,
        ),
        Route(
            method="POST",
            path="/api/edge/v1/renew",
            summary="A fresh connect token for a valid one",
            gate=gates.edges,
            parameters=Parameters,
            body=RenewRequest,
            reply=TokenReply,
            handler=handlers.edges.renew_token,
        ),
        Route(
            method="PUT",
            path="/api/edge/v1/presence",
            summary="Who is connected through this edge",
            gate=gates.edges,
            parameters=Parameters,
            body=PresenceReport,
            reply=NO_BODY,
            handler=handlers.edges.report_presence,
        ),
        Route(
            method="GET",
            path="/api/edge/v1/feed",
            summary="Every session, then each change, as JSON lines",
            gate=gates.edges,
            parameters=Parameters,
            body=NO_BODY,
            reply=STREAM,
            handler=handlers.edges.stream_feed,
        ),
        Route(
            method="GET",
            path="/healthz",
            summary="Whether the control plane can work",
            gate=gates.anybody,
            parameters=Parameters,
            body=NO_BODY,
            reply=HealthReply,
            handler=handlers.operations.describe_health,
        ),
    ]
