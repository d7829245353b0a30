"""`Saver` in a process of its own: it is started when needed, and again when it has ended.

Capturing holds Python's lock for up to a third of a second at a time, and the agent's loop must
never stand still for a twentieth. What is known of the checkpoint that is being written is how it
was opened: a process that takes over opens it once more in the same way, and goes on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, assert_never

import structlog

from agent.checkpointing import orders
from agent.checkpointing.child import CANCEL_SECONDS_MAX, Child
from agent.checkpointing.facts import Swept
from agent.checkpointing.orders import (
    Cancelled,
    DoneRestoring,
    DoneSweeping,
    Failed,
    Found,
    Newest,
    Open,
    Restore,
    RestoreUnderway,
    SaveUnderway,
    Seal,
    Sweep,
    Trouble,
    Write,
)
from agent.checkpointing.saver import (
    DamagedCheckpointError,
    NoRoomError,
    ParentBusyError,
    ParentGoneError,
    SaverDiedError,
    SaveRefusedError,
    StorageTroubleError,
    SupersededError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agent.checkpointing.facts import Restored, RestoreProgress, Saved, SaveProgress
    from agent.checkpointing.orders import Answer, Order, Underway
    from agent.checkpointing.saver import SaverError
    from common.session_spec import WorkDirectory

_NOTHING = Swept(records=0, deleted_bytes=0, refused=0)

_log = structlog.get_logger()


class SaverProcess:
    """See `saver.Saver`. To be used in the main thread's event loop."""

    def __init__(
        self, work_directory: WorkDirectory, *, cancel_seconds_max: float = CANCEL_SECONDS_MAX
    ) -> None:
        self._work_directory = work_directory
        self._cancel_seconds_max = cancel_seconds_max
        self._turn = asyncio.Lock()
        self._child: Child | None = None
        self._opened: Open | None = None
        """How; whether `_child` has it open is another matter."""
        self._is_open_in: Child | None = None
        self._since = 0
        """The last generation that the caller knows of."""
        self._is_closed = False

    @property
    def pid(self) -> int | None:
        """The process's, while there is one."""
        return self._child.pid if self._child is not None and self._child.is_alive else None

    async def seal(self, checkpoint_id: str, run_number: int) -> Saved | None:
        async with self._turn:
            return _found(await self._ask(Seal(checkpoint_id=checkpoint_id, run_number=run_number)))

    async def newest(self, checkpoint_id: str, *, before: int | None = None) -> Saved | None:
        async with self._turn:
            return _found(await self._ask(Newest(checkpoint_id=checkpoint_id, before=before)))

    async def open(
        self, checkpoint_id: str, *, run_number: int, image: str, parent: Saved | None
    ) -> Saved | None:
        async with self._turn:
            self._opened = None
            order = Open(
                checkpoint_id=checkpoint_id, run_number=run_number, image=image, parent=parent
            )
            saved = await self._open(order)
            self._opened = order
            self._since = saved.generation if saved is not None else 0
            return saved

    async def write(
        self,
        folder: Path,
        *,
        originals: Path | None = None,
        changes: Sequence[bytes] | None,
        final: bool = False,
        progress: Callable[[SaveProgress], None] = lambda _: None,
    ) -> Saved:
        if changes is not None and orders.appendix_bytes(changes) is None:
            changes = None
        async with self._turn:
            await self._reopen()
            order = Write(
                folder=str(folder),
                originals=None if originals is None else str(originals),
                has_changes=changes is not None,
                since_generation=self._since,
                final=final,
            )

            def underway(heard: Underway) -> None:
                if isinstance(heard, SaveUnderway):
                    progress(heard.progress)

            saved = _found(await self._ask(order, underway, changes=changes or ()))
            assert saved is not None, "what is written is there"
            self._since = saved.generation
            return saved

    async def sweep(self) -> Swept:
        async with self._turn:
            if self._is_open_in is None or not self._is_open_in.is_alive:
                return _NOTHING  # only whoever wrote it knows what to look for
            answer = await self._ask(Sweep())
            assert isinstance(answer, DoneSweeping)
            return answer.swept

    async def restore(
        self,
        saved: Saved,
        folder: Path,
        *,
        over: Sequence[Path],
        progress: Callable[[RestoreProgress], None] = lambda _: None,
    ) -> Restored:
        async with self._turn:

            def underway(heard: Underway) -> None:
                if isinstance(heard, RestoreUnderway):
                    progress(heard.progress)

            order = Restore(saved=saved, folder=str(folder), over=tuple(map(str, over)))
            answer = await self._ask(order, underway)
            assert isinstance(answer, DoneRestoring)
            return answer.restored

    async def rest(self) -> None:
        async with self._turn:
            await self._end_child()

    async def close(self) -> None:
        self._is_closed = True
        if self._turn.locked() and self._child is not None:
            self._child.kill()  # whoever waits for it learns that
        async with self._turn:
            await self._end_child()

    # ── The process ──────────────────────────────────────────────────────────

    async def _ask(
        self,
        order: Order,
        underway: Callable[[Underway], None] = lambda _: None,
        *,
        changes: Sequence[bytes] = (),
    ) -> Answer:
        """Have it done by a process that lives; raise what came of it instead."""
        child = await self._present()
        answer = await child.ask(order, underway, changes=changes)
        if answer is None:
            raise SaverDiedError(f"The process that saves files has ended: {child.why_ended()}.")
        if isinstance(answer, Failed):
            raise _error(answer)
        assert not isinstance(answer, Cancelled), "nobody has cancelled it"
        return answer

    async def _present(self) -> Child:
        if self._is_closed:
            raise SaverDiedError("Saving files was ended.", retry_helps=False)
        if self._child is not None and not self._child.is_alive:
            child = self._child
            await self._end_child()
            _log.warning("checkpoint_process_gone", why=child.why_ended())
        if self._child is None:
            try:
                self._child = await Child.start(
                    self._work_directory, cancel_seconds_max=self._cancel_seconds_max
                )
            except OSError as error:
                raise SaverDiedError(
                    f"The process that saves files can't be started: {error.strerror}."
                ) from error
            _log.info("checkpoint_process_started", pid=self._child.pid)
        return self._child

    async def _end_child(self) -> None:
        child, self._child, self._is_open_in = self._child, None, None
        if child is not None:
            await child.end()

    async def _open(self, order: Open) -> Saved | None:
        self._is_open_in = None
        saved = _found(await self._ask(order))
        self._is_open_in = self._child
        return saved

    async def _reopen(self) -> None:
        """Have a process that lives, with the checkpoint open as it was."""
        assert self._opened is not None, "a checkpoint is opened before it is written"
        child = await self._present()
        if child is not self._is_open_in:
            _log.info("checkpoint_reopened", checkpoint=self._opened.checkpoint_id)
            await self._open(self._opened)


def _found(answer: Answer) -> Saved | None:
    assert isinstance(answer, Found)
    return answer.saved


def _error(failed: Failed) -> SaverError:
    sentence, retry_helps = failed.sentence, failed.retry_helps
    match failed.trouble:
        case Trouble.SUPERSEDED:
            return SupersededError(sentence, retry_helps=retry_helps)
        case Trouble.PARENT_GONE:
            return ParentGoneError(sentence, retry_helps=retry_helps)
        case Trouble.PARENT_BUSY:
            return ParentBusyError(sentence, retry_helps=retry_helps)
        case Trouble.STORAGE:
            return StorageTroubleError(sentence, retry_helps=retry_helps)
        case Trouble.DAMAGED:
            return DamagedCheckpointError(sentence, retry_helps=retry_helps)
        case Trouble.NO_ROOM:
            return NoRoomError(sentence, retry_helps=retry_helps)
        case Trouble.REFUSED:
            return SaveRefusedError(sentence, retry_helps=retry_helps)
        case _:
            assert_never(failed.trouble)
