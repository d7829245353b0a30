"""Handler: changes of Studios as server-sent events (`text/event-stream`).

| event    | data                                                                         |
|----------|------------------------------------------------------------------------------|
| `studio` | the whole Studio, as the caller may see it now                               |
| `removed`| `{sessionId}`: it is gone                                                    |
| `resync` | `{}`: changes may have been missed; read the list again                      |

The stream tells changes only. A client opens it, reads the list, and applies what has come since;
so it must do the same after every reconnect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.wire import encode
from control_plane.api.shapes import RemovedEvent
from control_plane.errors import NotFoundError, RefusedError, UnavailableError
from control_plane.events import Change, EventBus

if TYPE_CHECKING:
    from aiohttp import web

    from common.ids import SessionId, UserId
    from control_plane.api.present import Presenter
    from control_plane.api.route import Call, Parameters
    from control_plane.api.streams import Streams
    from control_plane.model import Person
    from control_plane.service import StudioService

HEARTBEAT_SECONDS = 15.0
_RESYNC = b"event: resync\ndata: {}\n\n"


@dataclass(frozen=True, slots=True)
class EventHandlers:
    """The one handler, with what it needs."""

    service: StudioService
    presenter: Presenter
    bus: EventBus
    streams: Streams

    async def stream_events(self, call: Call[Person, Parameters, None]) -> web.StreamResponse:
        """Follow every change of a Studio the caller may see."""
        if self.streams.is_full:
            raise UnavailableError("Too many event streams are open: close a tab, or try later.")

        async def write(response: web.StreamResponse) -> None:
            await self._follow(call.who.id, response)

        return await self.streams.run(
            call.request,
            "text/event-stream",
            write,
            heartbeat=b": still here\n\n",
            heartbeat_seconds=HEARTBEAT_SECONDS,
        )

    async def _follow(self, user_id: UserId, response: web.StreamResponse) -> None:
        """Write changes until the person is no member any more."""
        async with self.bus.subscribe() as changes:
            # tells the client that from here on nothing is missed
            await response.write(b": open\n\n")
            async for change in changes:
                # asked anew each time: the role may be another since the stream began
                person = await self.service.find_person(user_id)
                if person is None:
                    return
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
