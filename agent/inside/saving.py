"""The session's files, saved as it asks: many who ask share one capture, and captures keep a pause.

    asked ─▶ next ── pause over, the one before ended ──▶ under way ─▶ ended, with what came of it

Who asks while a saving is under way gets the next one: the one under way may have looked at their
files already. A saving has a number, so whoever asked can go away, come back and hear of it; it
belongs to the session, and nobody who goes away ends it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.checkpointing.captures import NotSavedError
from agent.limits import wait_event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from agent.checkpointing.captures import Commit
    from common.clock import Clock
    from common.messages import CheckpointStatus

PAUSE_SECONDS = 10.0
"""From the end of one to the beginning of the next that the session asks for. A loop in the session
makes no more than six generations a minute of it, each some objects in the work directory."""
WAITERS_MAX = 8
"""Half of the listener's connections: the others stay free for `studio status`. Who comes to more
is told at once that it is under way, and asks again."""
ENDED_MAX = 16
"""That are remembered: whoever waits asks again at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The files are safe."""

    committed_at: datetime
    """As they were then."""
    generation: int
    entries: int
    file_bytes: int
    torn_files: int
    new: Commit | None
    """What was committed for it; None if nothing had changed."""


@dataclass(frozen=True, slots=True)
class NotKept:
    """They could not be saved; a sentence for people."""

    sentence: str


class _Saving:
    """One of them."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.over = asyncio.Event()
        self.outcome: Kept | NotKept | None = None


class Saving:
    """Saves when asked. `run` does it."""

    def __init__(
        self,
        save: Callable[[], Awaitable[None]],
        *,
        status: Callable[[], CheckpointStatus | None],
        commits: Callable[[], tuple[Commit, ...]],
        clock: Clock,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        """All three are like those of an `OwnGround`."""
        self._save = save
        self._status = status
        self._commits = commits
        self._clock = clock
        self._pause_seconds = pause_seconds
        self._asked = asyncio.Event()
        self._next: _Saving | None = None
        self._known: deque[_Saving] = deque(maxlen=ENDED_MAX)
        self._count = 0
        self._waiters = 0

    def ask(self) -> int:
        """Have the files saved as they are now; return the number of the saving that does it."""
        if self._next is None:
            self._count += 1
            self._next = _Saving(self._count)
            self._known.append(self._next)
            self._asked.set()
        return self._next.number

    def is_known(self, number: int) -> bool:
        return self._find(number) is not None

    async def outcome(self, number: int, seconds_max: float) -> Kept | NotKept | None:
        """Return what came of a known one; None if that takes longer, or too many wait."""
        saving = self._find(number)
        assert saving is not None
        if saving.outcome is None and self._waiters < WAITERS_MAX:
            self._waiters += 1
            try:
                await wait_event(saving.over, self._clock, seconds_max)
            finally:
                self._waiters -= 1
        return saving.outcome

    async def run(self) -> None:
        """Save whenever somebody has asked, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            saving, self._next = self._next, None
            assert saving is not None
            saving.outcome = await self._attempt()
            saving.over.set()
            await self._clock.sleep(self._pause_seconds)

    async def _attempt(self) -> Kept | NotKept:
        began_at, before = self._clock.now(), self._status()
        try:
            await self._save()
        except NotSavedError as error:
            return NotKept(str(error))
        after = self._status()
        if after is None or after.committed_at is None or after.committed_at < began_at:
            # The run ends, or somebody has set the clock back.
            return NotKept("It is not certain that the files were saved.")
        is_new = before is None or after.generation != before.generation
        return Kept(
            committed_at=after.committed_at,
            generation=after.generation,
            entries=after.entries,
            file_bytes=after.file_bytes,
            torn_files=after.torn_files,
            new=self._commit_of(after.generation) if is_new else None,
        )

    def _commit_of(self, generation: int) -> Commit | None:
        return next(
            (found for found in self._commits() if found.saved.generation == generation), None
        )

    def _find(self, number: int) -> _Saving | None:
        return next((known for known in self._known if known.number == number), None)
