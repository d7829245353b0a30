"""**Start here.** What the session's own programs can ask the agent: a page for each thing.

The daemon opens it before the session's root is made, which binds the socket into it; runs it
beside its other parts; and closes it after the session's end. It has no secret to tell, and does
nothing but `extend`: whoever reaches the socket is in the session, and that is all they need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.inside.command import SOCKET_INSIDE
from agent.inside.documents import space_document, status_document
from agent.inside.exchange import Answer, Request, json_answer, text_answer
from agent.inside.extension import Extension, Refused
from agent.inside.listener import Listener
from agent.inside.view import View
from agent.inside.wording import extended_text, space_text, status_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from agent.desired import Obeyed
    from common.clock import Clock
    from common.messages import DesiredState, StatusReport
    from common.session_spec import SessionSpec

SOCKET_NAME = "studio.sock"
_PAGES: dict[str, Callable[[View], Answer]] = {
    "/status": lambda view: text_answer(status_text(view)),
    "/space": lambda view: text_answer(space_text(view)),
    "/status.json": lambda view: json_answer(status_document(view)),
    "/space.json": lambda view: json_answer(space_document(view)),
}
_EXTEND = "/extend"


class Desk:
    """Answers programs in the session."""

    def __init__(
        self,
        spec: SessionSpec,
        folder: Path,
        *,
        observe: Callable[[], StatusReport],
        obeyed: Callable[[], Obeyed],
        extend: Callable[[], Awaitable[DesiredState]],
        clock: Clock,
    ) -> None:
        """`folder` is the session's on the host, closed to everybody else.

        `observe` sees the run as it is now, `obeyed` what the control plane wants of it, and
        `extend` is like that of a `ControlPlane`.
        """
        self._spec = spec
        self._observe = observe
        self._obeyed = obeyed
        self._clock = clock
        self._since = clock.now()
        self._extension = Extension(extend, clock)
        self._path = folder / SOCKET_NAME
        self._listener = Listener(self._path, self.answer, clock=clock)

    @property
    def given(self) -> tuple[str, str]:
        """The socket, and where the session is to see it: see `agent.root.plan.Wishes.given`."""
        return str(self._path), SOCKET_INSIDE

    async def open(self) -> None:
        """Make the socket, or raise OSError."""
        self._listener.open()

    async def run(self) -> None:
        """Answer until cancelled."""
        await self._listener.run()

    async def close(self) -> None:
        """Take the socket away. Idempotent."""
        await self._listener.close()

    async def answer(self, request: Request) -> Answer:
        """Answer one request."""
        page = _PAGES.get(request.target)
        if page is None and request.target != _EXTEND:
            return text_answer(f"There is no page {request.target} here.", status=404)
        method = "POST" if page is None else "GET"
        if request.method != method:
            return text_answer(f"{request.target} takes {method} only.", status=405)
        if page is not None:
            return page(self._view())
        return await self._extend()

    async def _extend(self) -> Answer:
        outcome = await self._extension.ask()
        if isinstance(outcome, Refused):
            return text_answer(outcome.sentence, status=409)
        return text_answer(extended_text(outcome, self._clock.now()))

    def _view(self) -> View:
        return View(
            studio_name=self._spec.studio_name,
            tool_name=self._spec.tool.name,
            limits=self._spec.volume,
            since=self._since,
            now=self._clock.now(),
            report=self._observe(),
            obeyed=self._obeyed(),
        )
