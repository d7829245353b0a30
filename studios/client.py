"""The API as methods: what commands ask of a control plane."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from studios import transport
from studios.failures import CommandError, NotFoundError
from studios.names import looks_like_id, select, select_checkpoint
from studios.shapes import (
    Checkpoint,
    CheckpointPage,
    ComputeEnvs,
    NewCheckpointName,
    Scope,
    ScopedToken,
    Studio,
    StudioPage,
    StudioReply,
    Templates,
)
from studios.shapes_of_people import AddedUser, LoginLink, NewRole, NewUser, UserInfo, Users

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from studios.credentials import Credentials
    from studios.shapes import ComputeEnv, NewStudio, Template
    from studios.shapes_of_people import User
    from studios.transport import Transport

PAGE_SIZE = 100  # the API's own limit
CHECKPOINTS_SIZE = 50  # and that for checkpoints


class Client:
    """What commands may ask. Every method raises `studios.failures` only."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @property
    def url(self) -> str:
        return self._transport.url

    async def studios(self, search: str = "") -> list[Studio]:
        """Return all Studios that match, whatever their number."""
        found: list[Studio] = []
        while True:
            query = {"max": str(PAGE_SIZE), "offset": str(len(found))}
            if search:
                query["search"] = search
            page = await self._transport.call("GET", "/studios", StudioPage, query=query)
            found += page.studios
            if not page.studios or len(found) >= page.total_size:
                return found

    async def studio(self, session_id: str) -> Studio:
        return await self._transport.call("GET", _studio(session_id), Studio)

    async def find(self, name_or_id: str) -> Studio:
        """Return the Studio of that id, else the only one of that name."""
        if looks_like_id(name_or_id):
            try:
                return await self.studio(name_or_id)
            except NotFoundError:
                pass  # eight hex digits are a fine name, too
        return select(name_or_id, await self.studios())

    async def create(self, new: NewStudio, *, auto_start: bool) -> Studio:
        query = {"autoStart": "true"} if auto_start else {}
        reply = await self._transport.call("POST", "/studios", StudioReply, query=query, body=new)
        return reply.studio

    async def start(self, session_id: str) -> Studio:
        await self._transport.send("PUT", f"{_studio(session_id)}/start", body={})
        return await self.studio(session_id)

    async def stop(self, session_id: str) -> Studio:
        await self._transport.send("PUT", f"{_studio(session_id)}/stop")
        return await self.studio(session_id)

    async def extend(self, session_id: str) -> Studio:
        await self._transport.send("POST", f"{_studio(session_id)}/lifespan")
        return await self.studio(session_id)

    async def delete(self, session_id: str) -> None:
        await self._transport.send("DELETE", _studio(session_id))

    # ── Checkpoints ──────────────────────────────────────────────────────────

    async def checkpoints(self, session_id: str, search: str = "") -> list[Checkpoint]:
        """Return all of a Studio's checkpoints that match, newest first."""
        found: list[Checkpoint] = []
        while True:
            query = {"max": str(CHECKPOINTS_SIZE), "offset": str(len(found))}
            if search:
                query["search"] = search
            path = f"{_studio(session_id)}/checkpoints"
            page = await self._transport.call("GET", path, CheckpointPage, query=query)
            found += page.checkpoints
            if not page.checkpoints or len(found) >= page.total_size:
                return found

    async def find_checkpoint(self, studio: Studio, wanted: str) -> Checkpoint:
        """Return the one of that name or number, or `latest`."""
        return select_checkpoint(wanted, studio, await self.checkpoints(studio.session_id))

    async def save_now(self, session_id: str) -> Checkpoint:
        """Have the session's files saved; returns at once, with what they are saved to."""
        return await self._transport.call("POST", f"{_studio(session_id)}/checkpoints", Checkpoint)

    async def rename_checkpoint(self, session_id: str, number: int, name: str) -> Checkpoint:
        path = f"{_studio(session_id)}/checkpoints/{number}"
        body = NewCheckpointName(name=name)
        return await self._transport.call("PUT", path, Checkpoint, body=body)

    async def delete_checkpoint(self, session_id: str, number: int) -> None:
        await self._transport.send("DELETE", f"{_studio(session_id)}/checkpoints/{number}")

    async def templates(self) -> tuple[Template, ...]:
        reply = await self._transport.call("GET", "/studios/templates", Templates)
        return reply.templates

    async def me(self) -> User:
        """Return the person whose token this is."""
        return (await self._transport.call("GET", "/user-info", UserInfo)).user

    async def users(self) -> tuple[User, ...]:
        return (await self._transport.call("GET", "/users", Users)).users

    async def add_user(self, name: str, role: str) -> AddedUser:
        body = NewUser(name=name, role=role)
        return await self._transport.call("POST", "/users", AddedUser, body=body)

    async def set_role(self, user_id: int, role: str) -> None:
        await self._transport.send("PUT", f"/users/{user_id}", body=NewRole(role=role))

    async def remove_user(self, user_id: int) -> None:
        await self._transport.send("DELETE", f"/users/{user_id}")

    async def login_link(self, user_id: int) -> str:
        """Return a link that logs a browser in once; earlier ones of that person stop working."""
        path = f"/users/{user_id}/login-link"
        return (await self._transport.call("POST", path, LoginLink)).login_url

    @asynccontextmanager
    async def log(
        self, studio: Studio, *, tail: int, follow: bool
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Yield a session's log piece by piece; with `follow` it ends with the session."""
        grant = await self._transport.call(
            "POST", f"{_studio(studio.session_id)}/token", ScopedToken, body=Scope(scope="log")
        )
        query = {"tail": str(tail), "follow": "1" if follow else "0"}
        async with self._transport.stream(grant.url, token=grant.token, query=query) as pieces:
            yield pieces

    async def exec_grant(self, studio: Studio) -> tuple[str, str]:
        """Return where one command can be run in a session, and the token for it."""
        path = f"{_studio(studio.session_id)}/token"
        grant = await self._transport.call("POST", path, ScopedToken, body=Scope(scope="exec"))
        return grant.url, grant.token

    async def kept_log(self, studio: Studio, *, tail: int) -> bytes:
        """Return what was kept of the log of a session that is over; empty when nothing was."""
        try:
            return await self._transport.send(
                "GET", f"{_studio(studio.session_id)}/logs", query={"tail": str(tail)}
            )
        except NotFoundError:
            return b""

    async def answers(self, studio: Studio) -> bool:
        """Ask a session through the edge whether a user could work in it now."""
        path = f"{_studio(studio.session_id)}/token"
        try:
            grant = await self._transport.call(
                "POST", path, ScopedToken, body=Scope(scope="health")
            )
            async with self._transport.stream(grant.url, token=grant.token, query={}):
                return True
        except CommandError:
            return False

    async def compute_envs(self) -> tuple[ComputeEnv, ...]:
        reply = await self._transport.call("GET", "/compute-envs", ComputeEnvs)
        return reply.compute_envs


@asynccontextmanager
async def connect(
    credentials: Credentials, *, unix_socket: Path | None = None
) -> AsyncIterator[Client]:
    """Yield a client for one control plane, reached through `unix_socket` where one is given."""
    async with transport.connect(credentials, unix_socket=unix_socket) as open_transport:
        yield Client(open_transport)


def _studio(session_id: str) -> str:
    return f"/studios/{quote(session_id, safe='')}"
