"""Control plane and edge, each behind one small function: all that `studios up` knows of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from common.secret import Secret
from connect_proxy import config as edge_config, edge
from control_plane import app
from control_plane.config import embedded

if TYPE_CHECKING:
    from common.clock import Clock
    from studios.up.plan import Plan

EDGE_ID = "up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What a ready control plane hands out."""

    admin_token: Secret
    edge_token: Secret


IssueKeys = Callable[[Secret | None], Awaitable[Keys]]
"""Takes the administrator's token of an earlier time, and keeps it if it is still good."""


class Programs(Protocol):
    """Both run until cancelled, and call `ready` once they serve."""

    async def control_plane(
        self, plan: Plan, clock: Clock, ready: Callable[[IssueKeys], None]
    ) -> None: ...

    async def edge(
        self, plan: Plan, clock: Clock, edge_token: Secret, ready: Callable[[], None]
    ) -> None: ...


class OwnPrograms:
    """The real ones."""

    async def control_plane(
        self, plan: Plan, clock: Clock, ready: Callable[[IssueKeys], None]
    ) -> None:
        config = replace(
            embedded(
                data_dir=plan.data_dir,
                images_dir=plan.images_dir,
                port=plan.port,
                work_dir=plan.work_dir,
            ),
            public_url=plan.url,
            connect_domain=plan.authority,
            unix_socket=plan.socket,
            edge_connect_url=plan.url,
            edge_urls=(plan.url,),
            agent_url=plan.url,
        )

        def on_ready(plane: app.ControlPlane) -> None:
            async def issue(existing_admin_token: Secret | None) -> Keys:
                return Keys(
                    admin_token=await plane.login.admin_token(existing_admin_token),
                    edge_token=plane.login.issue_edge_token(EDGE_ID),
                )

            ready(issue)

        await app.serve(config, clock=clock, on_ready=on_ready)

    async def edge(
        self, plan: Plan, clock: Clock, edge_token: Secret, ready: Callable[[], None]
    ) -> None:
        config = edge_config.EdgeConfig(
            listen_host=plan.host,
            listen_port=plan.port,
            connect_domain=plan.authority,
            public_scheme="http",
            control_plane_url=f"unix:{plan.socket}",
            edge_token=edge_token,
            edge_id=EDGE_ID,
        )
        await edge.serve(config, clock=clock, on_ready=lambda _port: ready())
