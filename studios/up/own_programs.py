"""Control plane and edge, each behind one small function."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from common.ids import SessionId
from connect_proxy import config as edge_config, edge
from control_plane import app
from control_plane.config import InvalidConfigError, embedded
from control_plane.database_troubles import busy_sentence, disk_full_sentence
from studios.failures import CommandError
from studios.up.programs import Keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.clock import Clock
    from common.secret import Secret
    from control_plane.config import ControlPlaneConfig
    from studios.up.plan import Plan
    from studios.up.programs import IssueKeys

EDGE_ID = "up"
DRAIN_SECONDS_MAX = 1.0  # the long polls of our own agents never end by themselves


def _control_plane(plan: Plan) -> ControlPlaneConfig:
    config = embedded(
        data_dir=plan.data_dir,
        images_dir=plan.images_dir,
        port=plan.port,
        work_dir=plan.work_dir,
    )
    return replace(
        config,
        public_url=plan.url,
        connect_domain=plan.authority,
        unix_socket=plan.socket,
        edge_connect_url=plan.url,
        edge_urls=(plan.url,),
        agent_url=plan.url,
        volume=plan.volume,
        carried=plan.carried,
        session=plan.session,
        access=plan.access,
    )


class OwnPrograms:
    """The real `Programs`."""

    async def control_plane(
        self, plan: Plan, clock: Clock, ready: Callable[[IssueKeys], None]
    ) -> None:
        def on_ready(plane: app.ControlPlane) -> None:
            async def issue(existing_admin_token: Secret | None) -> Keys:
                return Keys(
                    admin_token=await plane.login.admin_token(existing_admin_token),
                    edge_token=plane.login.issue_edge_token(EDGE_ID),
                    end_unrecorded=lambda id_: plane.service.end_unrecorded(SessionId(id_)),
                )

            ready(issue)

        try:
            await app.serve(_control_plane(plan), clock=clock, on_ready=on_ready)
        except InvalidConfigError as error:
            raise CommandError(str(error)) from None
        except sa.exc.DBAPIError as error:
            if sentence := disk_full_sentence(error) or busy_sentence(error):
                raise CommandError(sentence) from None
            raise

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
            drain_seconds_max=DRAIN_SECONDS_MAX,
        )
        await edge.serve(config, clock=clock, on_ready=lambda _port: ready())
