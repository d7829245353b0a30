"""Handlers: who am I, the workspace's users, my API tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import msgspec

from common.ids import UserId
from control_plane.access import Action, Allowed, Refused, may
from control_plane.api.route import Body, Call, Parameters, Reply
from control_plane.errors import NotFoundError, RefusedError
from control_plane.model import DEFAULT_WORKSPACE, Person, Role

if TYPE_CHECKING:
    from control_plane.login.api_tokens import ApiToken, ApiTokens
    from control_plane.login.desk import LoginDesk
    from control_plane.service import StudioService

_ID_MAX = 2**31 - 1  # PostgreSQL's integer
_NAME_LENGTH_MAX = 80

RowId = Annotated[int, msgspec.Meta(ge=1, le=_ID_MAX)]
ShortName = Annotated[str, msgspec.Meta(min_length=1, max_length=_NAME_LENGTH_MAX)]


class UserReply(Reply, frozen=True, kw_only=True):
    """A member."""

    id: UserId
    user_name: str
    role: Role
    email: str | None = None


class MyselfReply(UserReply, frozen=True, kw_only=True):
    """The caller."""

    allowed_actions: tuple[str, ...]
    """What they may do besides what each Studio says: create settings users."""


class UserInfoReply(Reply, frozen=True, kw_only=True):
    """The caller, and where they are at home."""

    user: MyselfReply
    default_workspace_id: int
    need_consent: bool = False


class UserList(Reply, frozen=True, kw_only=True):
    """All members."""

    users: tuple[UserReply, ...]
    total_size: int


class AddUserRequest(Body, frozen=True, kw_only=True):
    """A new member."""

    name: ShortName
    role: Role
    email: Annotated[str, msgspec.Meta(max_length=254)] | None = None


class AddUserReply(Reply, frozen=True, kw_only=True):
    """A new member, and the link that lets them in: works once, for a day, shown only here."""

    user: UserReply
    login_url: str


class UserPath(Parameters, frozen=True, kw_only=True):
    """One member."""

    user_id: RowId


class ChangeUserRequest(Body, frozen=True, kw_only=True):
    """Another role."""

    role: Role


class LoginLinkReply(Reply, frozen=True, kw_only=True):
    """A link that works once, for a day; earlier ones of the same person stop working."""

    login_url: str


class TokenShape(Reply, frozen=True, kw_only=True):
    """An API token; its text is shown once, when it is made."""

    id: int
    name: str
    date_created: datetime
    last_used: datetime | None


class TokenList(Reply, frozen=True, kw_only=True):
    """The caller's API tokens."""

    tokens: tuple[TokenShape, ...]


class CreateTokenRequest(Body, frozen=True, kw_only=True):
    """A name to know it by."""

    name: ShortName


class CreateTokenReply(Reply, frozen=True, kw_only=True):
    """A new API token. `accessKey` is its text, never shown again."""

    access_key: str
    token: TokenShape


class TokenPath(Parameters, frozen=True, kw_only=True):
    """One API token."""

    token_id: RowId


_OWN_ACTIONS = (Action.CREATE, Action.SETTINGS, Action.USERS)


@dataclass(frozen=True, slots=True)
class PeopleHandlers:
    """Each takes a checked call and asks the service, or the login desk."""

    service: StudioService
    desk: LoginDesk
    api_tokens: ApiTokens

    async def user_info(self, call: Call[Person, Parameters, None]) -> UserInfoReply:
        who = call.who
        allowed = tuple(a.name.lower() for a in _OWN_ACTIONS if isinstance(may(who, a), Allowed))
        return UserInfoReply(
            user=MyselfReply(id=who.id, user_name=who.name, role=who.role, allowed_actions=allowed),
            default_workspace_id=DEFAULT_WORKSPACE,
        )

    async def list_users(self, call: Call[Person, Parameters, None]) -> UserList:
        users = tuple(_user(person) for person in await self.service.list_users(call.who))
        return UserList(users=users, total_size=len(users))

    async def add_user(self, call: Call[Person, Parameters, AddUserRequest]) -> AddUserReply:
        wanted = call.body
        person = await self.service.add_user(call.who, wanted.name, wanted.role, email=wanted.email)
        return AddUserReply(
            user=_user(person),
            login_url=await self._link(call.who, person.id),
        )

    async def change_user(self, call: Call[Person, UserPath, ChangeUserRequest]) -> None:
        user_id = UserId(call.parameters.user_id)
        await self.service.set_role(call.who, user_id, call.body.role)

    async def delete_user(self, call: Call[Person, UserPath, None]) -> None:
        await self.service.set_role(call.who, UserId(call.parameters.user_id), None)

    async def create_login_link(self, call: Call[Person, UserPath, None]) -> LoginLinkReply:
        """Make a link for oneself, as Owner for anybody, as Admin for somebody invited.

        Whoever has a link can become its person and so enter their private Studios. That not even
        Admins can is a promise, so theirs is only the invitation, until it is first used.
        """
        user_id = UserId(call.parameters.user_id)
        if user_id != call.who.id:
            await self._check_may_let_in(call.who, user_id)
        return LoginLinkReply(login_url=await self._link(call.who, user_id))

    async def _link(self, who: Person, user_id: UserId) -> str:
        is_free = user_id == who.id or who.role is Role.OWNER
        return await self.desk.login_link(user_id, actor_id=who.id, is_invitation=not is_free)

    async def _check_may_let_in(self, who: Person, user_id: UserId) -> None:
        """A link is as good as its person's password, so it must not lead to a higher role."""
        decision = may(who, Action.USERS)
        if isinstance(decision, Refused):
            raise RefusedError(decision.reason)
        member = await self.service.find_person(user_id)
        if member is None:
            raise NotFoundError(f"There is no user {user_id}: GET /api/users lists all.")
        if member.role is Role.OWNER and who.role is not Role.OWNER:
            raise RefusedError("Only an Owner makes login links for Owners: ask one.")

    async def list_tokens(self, call: Call[Person, Parameters, None]) -> TokenList:
        return TokenList(
            tokens=tuple(_token(token) for token in await self.api_tokens.list(call.who.id))
        )

    async def create_token(
        self, call: Call[Person, Parameters, CreateTokenRequest]
    ) -> CreateTokenReply:
        token, text = await self.api_tokens.create(call.who.id, call.body.name)
        return CreateTokenReply(access_key=text.reveal(), token=_token(token))

    async def delete_token(self, call: Call[Person, TokenPath, None]) -> None:
        await self.api_tokens.revoke(call.who.id, call.parameters.token_id)


def _user(person: Person) -> UserReply:
    return UserReply(id=person.id, user_name=person.name, role=person.role)


def _token(token: ApiToken) -> TokenShape:
    return TokenShape(
        id=token.id,
        name=token.name,
        date_created=token.date_created,
        last_used=token.last_used,
    )
