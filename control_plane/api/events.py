"""Handler: changes of Studios as server-sent events (`text/event-stream`).

| event    | data                                                                         |
|----------|------------------------------------------------------------------------------|
| `studio` | the whole Studio, as the caller may see it now                               |
| `removed`| `{sessionId}`: it is gone                                                    |
| `resync` | `{}`: changes may have been missed; read the list again                      |

The stream tells changes only. A client opens it, reads the list, and applies what has come since;
so it must do the same after every reconnect.

The stream ends with the credential it was opened with: that is asked anew before each event and
each heartbeat.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from common.wire import encode
from control_plane.api.shapes import RemovedEvent
from control_plane.api.streams import StreamIsOverError
from control_plane.errors import NotFoundError, RefusedError, UnavailableError
from control_plane.events import Change, EventBus
from control_plane.login.gates import NotLoggedInError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from common.ids import SessionId, UserId
    from control_plane.api.present import Presenter
    from control_plane.api.route import Call, Parameters
    from control_plane.api.streams import Streams
    from control_plane.login.gates import Members
    from control_plane.model import Person
    from control_plane.service import StudioService

HEARTBEAT_SECONDS = 15.0
PER_PERSON_MAX = 20
"""Tabs and scripts of one person: nobody alone may use up what is there for all."""
_RESYNC = b"event: resync\ndata: {}\n\n"


@dataclass(frozen=True, slots=True)
class EventHandlers:
    """The one handler, with what it needs."""

    service: StudioService
    presenter: Presenter
    bus: EventBus
    streams: Streams
    members: Members
    _open: Counter[UserId] = field(default_factory=Counter)

    async def stream_events(self, call: Call[Person, Parameters, None]) -> web.StreamResponse:
        """Follow every change of a Studio the caller may see."""
        if self.streams.is_full:
            raise UnavailableError("Too many event streams are open: close a tab, or try later.")

        if self._open[call.who.id] >= PER_PERSON_MAX:
            raise UnavailableError(
                f"You follow events {PER_PERSON_MAX} times already: close a tab, or end a script."
            )

        async def who() -> Person:
            try:
                return await self.members.admit(call.request)
            except NotLoggedInError:
                raise StreamIsOverError from None

        async def check() -> None:
            await who()

        async def write(response: web.StreamResponse) -> None:
            await self._follow(who, response)

        self._open[call.who.id] += 1
        try:
            return await self.streams.run(
                call.request,
                "text/event-stream",
                write,
                heartbeat=b": still here\n\n",
                heartbeat_seconds=HEARTBEAT_SECONDS,
                check=check,
            )
        finally:
            self._open[call.who.id] -= 1

    async def _follow(
        self, who: Callable[[], Awaitable[Person]], response: web.StreamResponse
    ) -> None:
        async with self.bus.subscribe() as changes:
            # tells the client that from here on nothing is missed
            await response.write(b": open\n\n")
            async for change in changes:
                person = await who()
                match change:
                    case Change(session_id=session_id) if session_id is not None:
                        await response.write(await self._event(person, session_id))
                    case _:
                        await response.write(_RESYNC)

    async def _event(self, person: Person, session_id: SessionId) -> bytes:
        try:
            studio = await self.service.get(person, session_id)
        except (NotFoundError, RefusedError):
            removed = encode(RemovedEvent(session_id=session_id))
            return b"event: removed\ndata: " + removed + b"\n\n"
        shape = await self.presenter.studio(person, studio)
        return b"event: studio\ndata: " + encode(shape) + b"\n\n"
