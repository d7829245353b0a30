"""What a control plane is made of, each part handed what it needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from common.templates import InvalidTemplateError, load_templates
from common.tokens import TokenVerifier
from control_plane.api.presence import Presence
from control_plane.api.streams import Streams
from control_plane.collecting import Tally
from control_plane.config import InvalidConfigError
from control_plane.events import EventBus
from control_plane.login.api_tokens import ApiTokens
from control_plane.login.codes import LoginCodes
from control_plane.login.cookies import PageCookie
from control_plane.login.desk import LoginDesk
from control_plane.login.gates import Members
from control_plane.login.links import LoginLinks
from control_plane.login.page_sessions import PageSessions
from control_plane.login.signing_keys import load_signer
from control_plane.service import StudioService
from control_plane.settings import ServiceSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncEngine

    from common.clock import Clock
    from common.templates import TemplateFacts
    from common.tokens import TokenSigner
    from control_plane.config import ControlPlaneConfig
    from control_plane.engines.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts that more than one place needs."""

    config: ControlPlaneConfig
    clock: Clock
    database: AsyncEngine
    templates: Mapping[str, TemplateFacts]
    signer: TokenSigner
    verifier: TokenVerifier
    bus: EventBus
    service: StudioService
    presence: Presence
    streams: Streams
    links: LoginLinks
    codes: LoginCodes
    members: Members
    desk: LoginDesk
    tally: Tally = field(default_factory=Tally)
    """What the collector did."""


async def compose(
    config: ControlPlaneConfig,
    clock: Clock,
    database: AsyncEngine,
    engines: Mapping[str, Engine],
) -> Parts:
    """Build everything on a migrated database; makes the workspace and the first owner."""
    try:
        templates = load_templates(config.images_dir)
    except InvalidTemplateError as error:
        raise InvalidConfigError(f"A template can't be read: {error}") from None
    signer = await load_signer(database, clock)
    bus = EventBus()
    settings = ServiceSettings(
        connect_domain=config.connect_domain,
        control_plane_url=config.agent_url,
        edge_urls=config.edge_urls,
        sessions_dir=config.sessions_dir,
        volume=config.volume,
        session=config.session,
        access=config.access,
    )
    service = StudioService(database, engines, templates, signer, clock, bus, settings)
    await service.ensure_workspace(
        work_dir=config.work_dir, disk_limit_bytes=config.volume.limit_bytes
    )
    api_tokens = ApiTokens(database, clock)
    links = LoginLinks(database, clock)
    desk = LoginDesk(database, service, links, api_tokens, signer, config.public_url)
    await service.ensure_local_admin()
    return Parts(
        config=config,
        clock=clock,
        database=database,
        templates=templates,
        signer=signer,
        verifier=TokenVerifier(signer.public_keys(), clock),
        bus=bus,
        service=service,
        presence=Presence(clock),
        streams=Streams(clock),
        links=links,
        codes=LoginCodes(database, clock),
        members=Members(
            api_tokens,
            PageSessions(database, clock),
            PageCookie(secure=config.is_https),
            config.public_url,
        ),
        desk=desk,
    )
