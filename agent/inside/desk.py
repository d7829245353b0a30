"""**Start here.** What the session's own programs can ask the agent: a page for each thing.

The daemon opens it before the session's root is made, which binds the socket into it; runs it
beside its other parts; and closes it after the session's end. It has no secret to tell, and does
nothing but `extend` and `save`: whoever reaches the socket is in the session, and that is all they
need.

A saving may take hours, an answer may not. So whoever asks for one waits for a moment, and is told
then where to ask again: at `/saves/<number>`, until it is over.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, assert_never

from agent.inside.command import SOCKET_INSIDE
from agent.inside.documents import (
    history_document,
    saved_document,
    space_document,
    status_document,
)
from agent.inside.exchange import Answer, Request, json_answer, text_answer
from agent.inside.extension import Extension, Refused
from agent.inside.history import NO_CHECKPOINT, history_text, not_saved_text, saved_text
from agent.inside.listener import Listener
from agent.inside.saving import PAUSE_SECONDS, Kept, NotKept, Saving
from agent.inside.view import View
from agent.inside.wording import extended_text, space_text, status_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import tzinfo
    from pathlib import Path

    from agent.checkpointing.captures import Commit
    from agent.desired import Obeyed
    from common.clock import Clock
    from common.messages import DesiredState, StatusReport
    from common.session_spec import SessionSpec

SOCKET_NAME = "studio.sock"
FIRST_WAIT_SECONDS = 2.0
"""Most savings are over by then; who waits longer is told that it goes on."""
WAIT_SECONDS = 10.0
"""Of each further request; clients give up later than that."""
_JSON = ".json"
_SAVES = re.compile(r"/saves/([0-9]{1,9})(\.json)?", re.ASCII)


def _history(view: View) -> Answer:
    if view.report.checkpoint is None:
        return text_answer(NO_CHECKPOINT, status=409)
    return text_answer(history_text(view))


def _history_json(view: View) -> Answer:
    if view.report.checkpoint is None:
        return text_answer(NO_CHECKPOINT, status=409)
    return json_answer(history_document(view, view.report.checkpoint))


_PAGES: dict[str, Callable[[View], Answer]] = {
    "/status": lambda view: text_answer(status_text(view)),
    "/space": lambda view: text_answer(space_text(view)),
    "/status.json": lambda view: json_answer(status_document(view)),
    "/history": _history,
    "/space.json": lambda view: json_answer(space_document(view)),
    "/history.json": _history_json,
}
_EXTEND = "/extend"
_SAVE = {"/save", "/save.json"}


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
        save: Callable[[], Awaitable[None]],
        commits: Callable[[], tuple[Commit, ...]],
        clock: Clock,
        save_pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        """`folder` is the session's on the host, closed to everybody else.

        `observe` sees the run as it is now, `obeyed` what the control plane wants of it; `extend`
        is like that of a `ControlPlane`, `save` and `commits` are like those of an `OwnGround`.
        """
        self._spec = spec
        self._observe = observe
        self._obeyed = obeyed
        self._clock = clock
        self._since = clock.now()
        self._extension = Extension(extend, clock)
        self._commits = commits
        self._saving = Saving(
            save,
            status=lambda: observe().checkpoint,
            commits=commits,
            clock=clock,
            pause_seconds=save_pause_seconds,
        )
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
        """Answer, and save when asked, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listener.run(), name="inside/listener")
            group.create_task(self._saving.run(), name="inside/saving")

    async def close(self) -> None:
        """Take the socket away. Idempotent."""
        await self._listener.close()

    async def answer(self, request: Request) -> Answer:
        """Answer one request."""
        target = request.target
        page, known = _PAGES.get(target), _SAVES.fullmatch(target)
        if page is None and known is None and target != _EXTEND and target not in _SAVE:
            return text_answer(f"There is no page {target} here.", status=404)
        method = "POST" if page is None and known is None else "GET"
        if request.method != method:
            return text_answer(f"{target} takes {method} only.", status=405)
        if page is not None:
            return page(self._view(request.zone))
        if known is not None:
            return await self._outcome(request, int(known[1]), WAIT_SECONDS)
        if target == _EXTEND:
            return await self._extend(request.zone)
        return await self._save(request)

    async def _extend(self, zone: tzinfo) -> Answer:
        outcome = await self._extension.ask()
        if isinstance(outcome, Refused):
            return text_answer(outcome.sentence, status=409)
        return text_answer(extended_text(outcome, self._clock.now(), zone))

    async def _save(self, request: Request) -> Answer:
        if self._observe().checkpoint is None:
            return text_answer(NO_CHECKPOINT, status=409)
        return await self._outcome(request, self._saving.ask(), FIRST_WAIT_SECONDS)

    async def _outcome(self, request: Request, number: int, seconds_max: float) -> Answer:
        if not self._saving.is_known(number):
            sentence = f"Nothing is known of a saving {number} any more: see `studio history`."
            return text_answer(sentence, status=404)
        for_programs = request.target.endswith(_JSON)
        outcome = await self._saving.outcome(number, seconds_max)
        match outcome:
            case None:
                place = f"/saves/{number}{_JSON if for_programs else ''}"
                sentence = f"The files are being saved: ask {place} for what comes of it."
                return text_answer(sentence, status=202, location=place)
            case NotKept(reason):
                return text_answer(not_saved_text(reason, self._view(request.zone)), status=409)
            case Kept():
                if for_programs:
                    return json_answer(saved_document(outcome))
                return text_answer(saved_text(outcome, self._clock.now(), request.zone))
            case _:
                assert_never(outcome)

    def _view(self, zone: tzinfo) -> View:
        return View(
            studio_name=self._spec.studio_name,
            tool_name=self._spec.tool.name,
            limits=self._spec.volume,
            since=self._since,
            now=self._clock.now(),
            report=self._observe(),
            obeyed=self._obeyed(),
            commits=self._commits(),
            zone=zone,
        )
