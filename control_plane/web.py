"""The aiohttp application: the table of calls, the login pages, the Studios page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from common.templates import CONNECT_VERSION
from common.wire import encode
from control_plane.api import faults, openapi
from control_plane.api.agents import AgentHandlers
from control_plane.api.checkpoints import CheckpointHandlers
from control_plane.api.dispatch import handler
from control_plane.api.edges import EdgeHandlers
from control_plane.api.events import EventHandlers
from control_plane.api.files import FileHandlers
from control_plane.api.gates_and_handlers import Gates, Handlers
from control_plane.api.operations import Operations
from control_plane.api.people import PeopleHandlers
from control_plane.api.present import Presenter
from control_plane.api.studios import StudioHandlers
from control_plane.api.table import all_routes
from control_plane.api.workspace import WorkspaceHandlers
from control_plane.browsing import Browsing
from control_plane.login.connect import ConnectPages
from control_plane.login.connect_tokens import ConnectTokens
from control_plane.login.gates import Agents, Anybody, Edges
from control_plane.login.pages import LoginPages
from control_plane.page.serve import Fence, Page
from control_plane.store import Store

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from control_plane.api.route import AnyRoute
    from control_plane.composition import Parts

BODY_BYTES_MAX = 1024 * 1024


def application(parts: Parts) -> web.Application:
    browsing = Browsing(parts.service)
    handlers = _handlers(parts, browsing)
    gates = Gates(
        anybody=Anybody(),
        members=parts.members,
        agents=Agents(parts.verifier),
        edges=Edges(parts.verifier),
    )
    routes = all_routes(gates, handlers)
    app = web.Application(
        middlewares=[handlers.operations.middleware(), faults.translate],
        client_max_size=BODY_BYTES_MAX,
    )
    app.router.add_routes(_documents(parts, routes))
    for route in routes:
        app.router.add_route(route.method, route.path, handler(route))
    app.router.add_routes(LoginPages(parts.links, parts.members).routes())
    app.router.add_routes(
        ConnectPages(
            parts.codes, parts.members, parts.config.connect_domain, parts.config.scheme
        ).routes()
    )
    app.router.add_routes(Page(parts.members).routes())
    app.on_response_prepare.append(Fence(parts.config.scheme, parts.config.connect_domain).put)

    async def end_streams(_: web.Application) -> None:
        await parts.streams.close()

    async def end_browsing(_: web.Application) -> None:
        await browsing.close()

    app.on_shutdown.append(end_streams)
    app.on_cleanup.append(end_browsing)
    return app


def _handlers(parts: Parts, browsing: Browsing) -> Handlers:
    service, streams = parts.service, parts.streams
    presenter = Presenter(parts.database, service, parts.presence, parts.templates, parts.config)
    connect_tokens = ConnectTokens(
        parts.codes,
        service,
        Store(parts.database),
        parts.signer,
        parts.verifier,
        parts.config.connect_domain,
    )
    return Handlers(
        studios=StudioHandlers(service, presenter, parts.desk),
        checkpoints=CheckpointHandlers(service, presenter),
        files=FileHandlers(browsing),
        people=PeopleHandlers(service, parts.desk, parts.members.api_tokens),
        workspace=WorkspaceHandlers(service),
        events=EventHandlers(service, presenter, parts.bus, streams, parts.members),
        agents=AgentHandlers(service, streams),
        edges=EdgeHandlers(service, connect_tokens, parts.presence, parts.bus, streams),
        operations=Operations(parts.database, streams, parts.clock, parts.tally),
    )


def _documents(parts: Parts, routes: list[AnyRoute]) -> list[web.RouteDef]:
    """Return the calls that always answer the same."""
    version = ".".join(str(number) for number in CONNECT_VERSION)
    return [
        web.get("/api/openapi.json", _document(encode(openapi.describe(routes, version=version)))),
        web.get("/.well-known/jwks.json", _document(parts.signer.public_keys().encode())),
    ]


def _document(body: bytes) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type="application/json", charset="utf-8")

    return answer
