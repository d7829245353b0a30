"""Handlers: Studios, from listing to deleting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import msgspec
from aiohttp import web

from common.ids import SessionId
from control_plane.access import Action, Refused, may
from control_plane.api import shapes
from control_plane.api.present import Presenter, status_info
from control_plane.api.route import Body, Call, Parameters, Reply
from control_plane.errors import InvalidError, RefusedError
from control_plane.model import Person
from control_plane.service import LIST_MAX

if TYPE_CHECKING:
    from control_plane.login.desk import LoginDesk
    from control_plane.service import StudioService
    from control_plane.validation import CreateStudio, StartStudio, UpdateStudio

SEARCH_LENGTH_MAX = 200
OFFSET_MAX = 10**9  # fits every database's integer

LOG_LINES_MAX = 100_000

PathId = Annotated[SessionId, msgspec.Meta(pattern="^[0-9a-f]{8}$")]


class ListParameters(Parameters, frozen=True, kw_only=True):
    """Which Studios."""

    search: Annotated[str, msgspec.Meta(max_length=SEARCH_LENGTH_MAX)] = ""
    max: Annotated[int, msgspec.Meta(ge=1, le=LIST_MAX)] = LIST_MAX
    offset: Annotated[int, msgspec.Meta(ge=0, le=OFFSET_MAX)] = 0
    attributes: str = ""
    """Accepted for clients of the reference platform; labels are always there."""


class CreateParameters(Parameters, frozen=True, kw_only=True):
    """Whether to start it at once."""

    auto_start: bool = False


class StudioPath(Parameters, frozen=True, kw_only=True):
    """One Studio."""

    session_id: PathId


class LogParameters(StudioPath, frozen=True, kw_only=True):
    """How much of one Studio's log."""

    tail: Annotated[int, msgspec.Meta(ge=0, le=LOG_LINES_MAX)] = 200
    """Lines, from the end."""


class NameParameters(Parameters, frozen=True, kw_only=True):
    """A name somebody is typing."""

    name: str


class TokenRequest(Body, frozen=True, kw_only=True):
    """What the token is for."""

    scope: str


class TokenReply(Reply, frozen=True, kw_only=True):
    """A bearer token for `url`, good for one session and scope, for minutes; to exec, once."""

    token: str
    url: str


_EXEC = "exec"
_SCOPES = {"log": Action.CONNECT, "health": Action.READ, _EXEC: Action.CONNECT}
"""What one must be allowed to do for a token: a log shows what happens in the session, and a
terminal in the tool runs any command."""

PersonCall = Call[Person, Parameters, None]
StudioCall = Call[Person, StudioPath, None]


@dataclass(frozen=True, slots=True)
class StudioHandlers:
    """Each takes a checked call and asks the service."""

    service: StudioService
    presenter: Presenter
    desk: LoginDesk

    async def list_studios(self, call: Call[Person, ListParameters, None]) -> shapes.StudioList:
        wanted = call.parameters
        studios, total = await self.service.list(
            call.who, search=wanted.search, max=wanted.max, offset=wanted.offset
        )
        return shapes.StudioList(
            studios=await self.presenter.studios(call.who, studios), total_size=total
        )

    async def create_studio(
        self, call: Call[Person, CreateParameters, CreateStudio]
    ) -> shapes.StudioReply:
        studio = await self.service.create(
            call.who, call.body, auto_start=call.parameters.auto_start
        )
        return shapes.StudioReply(studio=await self.presenter.studio(call.who, studio))

    async def describe_studio(self, call: StudioCall) -> shapes.StudioShape:
        studio = await self.service.get(call.who, call.parameters.session_id)
        return await self.presenter.studio(call.who, studio)

    async def update_studio(
        self, call: Call[Person, StudioPath, UpdateStudio]
    ) -> shapes.StudioShape:
        studio = await self.service.update(call.who, call.parameters.session_id, call.body)
        return await self.presenter.studio(call.who, studio)

    async def delete_studio(self, call: StudioCall) -> None:
        await self.service.delete(call.who, call.parameters.session_id)

    async def start_studio(self, call: Call[Person, StudioPath, StartStudio]) -> shapes.JobReply:
        session_id = call.parameters.session_id
        studio = await self.service.start(call.who, session_id, call.body)
        return shapes.JobReply(
            job_submitted=True, session_id=session_id, status_info=status_info(studio)
        )

    async def stop_studio(self, call: StudioCall) -> shapes.JobReply:
        session_id = call.parameters.session_id
        studio = await self.service.stop(call.who, session_id)
        return shapes.JobReply(
            job_submitted=True, session_id=session_id, status_info=status_info(studio)
        )

    async def extend_studio(self, call: StudioCall) -> shapes.StudioShape:
        studio = await self.service.extend(call.who, call.parameters.session_id)
        return await self.presenter.studio(call.who, studio)

    async def validate_studio_name(self, call: Call[Person, NameParameters, None]) -> None:
        await self.service.validate_name(call.who, call.parameters.name)

    async def list_templates(self, call: PersonCall) -> shapes.TemplateList:
        templates = tuple(self.presenter.template(name) for name in self.presenter.templates)
        return shapes.TemplateList(templates=templates, total_size=len(templates))

    async def read_log(self, call: Call[Person, LogParameters, None]) -> web.StreamResponse:
        """Answer with plain text: what the tool printed, kept where the session ran."""
        wanted = call.parameters
        text = await self.service.log(call.who, wanted.session_id, tail=wanted.tail)
        return web.Response(text=text, content_type="text/plain", charset="utf-8")

    async def create_studio_token(self, call: Call[Person, StudioPath, TokenRequest]) -> TokenReply:
        """Let the caller use one reserved endpoint of a session, through the edge."""
        session_id, scope = call.parameters.session_id, call.body.scope
        action = _SCOPES.get(scope)
        if action is None:
            raise InvalidError(f"There is no scope {scope!r}: use {', '.join(_SCOPES)}.")
        studio = await self.service.get(call.who, session_id)
        decision = may(call.who, action, studio)
        if isinstance(decision, Refused):
            raise RefusedError(decision.reason)
        if scope == _EXEC:
            token = await self.desk.issue_exec_token(session_id, call.who)
        else:
            token = self.desk.issue_studio_token(session_id, scope, bearer=call.who.name)
        url = f"{self.presenter.config.session_url(session_id)}.studio/{scope}"
        return TokenReply(token=token.reveal(), url=url)
