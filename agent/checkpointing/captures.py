"""Saves a volume under its run's checkpoint: again and again, and a last time.

    due, or asked for ─ capture ─┬─ committed: as of its beginning, the files are safe
                                 └─ not: tried again, sooner; the status says why and how old

One capture at a time, see `capture`. The last one is tried until it is committed: by then nobody
writes any more, and what it commits is all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from agent.checkpointing.capture import GivenUpError
from agent.checkpointing.saver import SaverError, StorageTroubleError, SupersededError
from agent.checkpointing.schedule import Schedule
from agent.volume.volume import VolumeError
from common.messages import CheckpointPhase, CheckpointStatus
from common.tasks import TaskBag

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from datetime import datetime

    from agent.checkpointing.capture import VolumeCapture
    from agent.checkpointing.facts import Saved
    from common.clock import Clock
    from common.session_spec import CheckpointSpec

T = TypeVar("T")

ENDED = "The session is ending: its files are saved a last time, unless the end is forced."
HISTORY_MAX = 100
"""Commits that are remembered, for whoever asks in the session: a working day of them."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Commit:
    """One generation that this run has committed."""

    saved: Saved
    began_at: datetime
    """When its capture began: as of then the files are safe."""
    seconds: float
    """That it took, from the snapshot to the record."""


class NotSavedError(Exception):
    """What somebody wanted saved now could not be. The text is a sentence."""


class Captures:
    """Of one run. `on_change` is called whenever `status` says something new."""

    def __init__(
        self,
        spec: CheckpointSpec,
        capture: VolumeCapture,
        *,
        image: str,
        first: Saved | None,
        interval_seconds: Callable[[], float],
        clock: Clock,
        on_change: Callable[[], None],
    ) -> None:
        """`first` is what the checkpoint begins with: what was restored, or None."""
        self._spec = spec
        self._capture = capture
        self._image = image
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._on_change = on_change
        self._saved = first
        self._committed_at = clock.now() if first is not None else None
        self._stored_bytes = 0
        self._phase = CheckpointPhase.EMPTY
        self._message = ""
        self._in_progress = False
        self._failures = 0
        now = clock.monotonic()
        self._schedule = Schedule(begun_at=now, ended_at=now)
        self._wanted_at: datetime | None = None
        self._answered_at: datetime | None = None
        self._asked = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        """For the capture that begins next."""
        self._commits: deque[Commit] = deque(maxlen=HISTORY_MAX)
        self._turn = asyncio.Lock()
        self._tasks = TaskBag("captures")
        self._over = ""
        """Why nobody can have the files saved any more, as a sentence; empty while they can."""

    # ── What the run does with it ────────────────────────────────────────────

    async def run(self) -> None:
        """Save when it is due, until cancelled. Raise SupersededError if nothing may be saved."""
        while True:
            await self._until_due()
            async with self._turn:
                if self._over:
                    return
                if await self._attempt(final=False) is None:
                    await self._alone(self._capture.tidy_up(), name="tidy-up")

    def save_now(self, requested_at: datetime | None = None) -> None:
        """Have the files saved as they are now, as soon as a capture under way is over."""
        self._wanted_at = requested_at or self._wanted_at
        self._schedule = self._schedule.requested()
        self._asked.set()

    async def save(self) -> None:
        """Save the files as they are now, and return when they are. Raise NotSavedError."""
        if self._over:
            raise NotSavedError(self._over)
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self.save_now()
        await done

    async def save_last(self) -> None:
        """Save what there is at the end, for as long as that takes: nothing writes any more.

        A work directory that is away or refuses is waited for. Raise SupersededError, and what
        waiting doesn't mend: SaverError, VolumeError. Cancelled, it leaves what was saved before.
        """
        self._end(ENDED)
        while not self.is_final:
            async with self._turn:
                error = await self._attempt(final=True)
            if error is not None:
                if not _is_worth_waiting(error):
                    raise error
                await self._clock.sleep(self._schedule.retry_seconds(self._interval_seconds()))

    async def close(self) -> None:
        """End what is under way, so that nothing uses the volume any more. Idempotent."""
        self._end(ENDED)
        await self._tasks.close()

    @property
    def is_final(self) -> bool:
        """Whether all is saved, and the volume is not needed any more."""
        return self._saved is not None and self._saved.final

    # ── One capture ──────────────────────────────────────────────────────────

    async def _until_due(self) -> None:
        while True:
            interval = self._interval_seconds()
            left = self._schedule.due_in(self._clock.monotonic(), interval_seconds=interval)
            if left <= 0 or self._over:
                return
            self._asked.clear()
            asked = self._tasks.spawn(self._asked.wait(), name="asked")
            pause = self._tasks.spawn(self._clock.sleep(left), name="pause")
            try:
                await asyncio.wait({asked, pause}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                asked.cancel()
                pause.cancel()

    async def _attempt(self, *, final: bool) -> Exception | None:
        """Capture once, and remember how it went; return what went wrong. Raise SupersededError."""
        self._schedule = self._schedule.begun(self._clock.monotonic())
        wanted_at, began_at = self._wanted_at, self._clock.now()
        waiting, self._waiting = self._waiting, []
        problem = ENDED
        self._set_in_progress(True)
        try:
            outcome = await self._alone(self._caught(final=final), name="capture")
            if isinstance(outcome, SupersededError):
                raise outcome
            if isinstance(outcome, Exception):
                problem = self._failed(outcome)
                return outcome
            self._committed(outcome, began_at, final=final)
            self._answered_at = wanted_at
            problem = ""
            return None
        except SupersededError as error:
            problem = str(error)
            self._end(problem)
            raise
        finally:
            self._set_in_progress(False)
            _settle(waiting, problem)

    async def _alone(self, doing: Coroutine[Any, Any, T], *, name: str) -> T:
        """Do it in a task; whoever cancels this, waits until nothing of it uses the volume."""
        task: asyncio.Task[T] = self._tasks.spawn(doing, name=name)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            raise
        return task.result()

    async def _caught(self, *, final: bool) -> Saved | Exception:
        try:
            return await self._capture.take(self._saved, final=final)
        except (SaverError, VolumeError, GivenUpError) as error:
            return error

    def _failed(self, error: Exception) -> str:
        self._failures += 1
        self._schedule = self._schedule.failed(self._clock.monotonic())
        self._message = f"The files could not be saved: {str(error).rstrip('.')}."
        _log.warning("checkpoint_not_written", reason=str(error), failures=self._schedule.failures)
        return self._message

    def _committed(self, saved: Saved, began_at: datetime, *, final: bool) -> None:
        now = self._clock.monotonic()
        if saved is not self._saved:
            self._commits.append(Commit(saved, began_at, now - self._schedule.begun_at))
            self._stored_bytes += saved.stored_bytes
            self._phase = CheckpointPhase.FINALIZED if final else CheckpointPhase.INTERIM
        self._schedule = self._schedule.succeeded(now)
        self._message = ""
        self._saved, self._committed_at = saved, began_at

    def _end(self, sentence: str) -> None:
        """Begin no capture any more but the last one; whoever waits for one is told."""
        self._over = self._over or sentence
        self._asked.set()
        waiting, self._waiting = self._waiting, []
        _settle(waiting, self._over)

    # ── What it says of itself ───────────────────────────────────────────────

    def _set_in_progress(self, in_progress: bool) -> None:
        self._in_progress = in_progress
        self._on_change()

    def commits(self) -> tuple[Commit, ...]:
        """Return the last that were committed, oldest first."""
        return tuple(self._commits)

    def warnings(self) -> tuple[str, ...]:
        """Return sentences for the status, about what it can't save."""
        left_out = self._saved.left_out if self._saved is not None else ""
        return (f"{left_out}, can't be saved: move it up.",) if left_out else ()

    def status(self) -> CheckpointStatus:
        saved = self._saved
        return CheckpointStatus(
            id=self._spec.id,
            phase=self._phase,
            generation=saved.generation if saved else 0,
            committed_at=self._committed_at,
            entries=saved.entries if saved else 0,
            file_bytes=saved.file_bytes if saved else 0,
            stored_bytes=self._stored_bytes,
            torn_files=saved.torn if saved else 0,
            image=self._image,
            parent_id=self._spec.parent_id,
            in_progress=self._in_progress,
            failures=self._failures,
            answered_request_at=self._answered_at,
            message=self._message,
        )


def _settle(waiting: Iterable[asyncio.Future[None]], problem: str) -> None:
    for done in waiting:
        if done.done():  # whoever waited went away
            continue
        if problem:
            done.set_exception(NotSavedError(problem))
        else:
            done.set_result(None)


def _is_worth_waiting(error: Exception) -> bool:
    """Say whether what could not be saved may be, later; refused credentials can be renewed."""
    match error:
        case StorageTroubleError():
            return True
        case SaverError() | VolumeError():
            return error.retry_helps
        case _:
            return True
