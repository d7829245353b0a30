"""**Start here.** What saves and restores a run's files: the calls, and how each may fail.

A saver has one checkpoint that it writes, the last one `open`ed, and does one thing at a time:
calls that overlap wait for each other. Every call may raise `SaverDiedError` and
`StorageTroubleError`; the next one finds everything as it was, and goes on.

No call has a limit of its own: a store that is away is asked again for some time, and a terabyte
takes its hours. Whoever calls sets one. **Cancelled**, a call gives what it does some seconds to
end in order, and ends it by force then; nothing of it goes on behind anybody's back. A write that
was cancelled may have been committed: the next one finds that out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agent.checkpointing.facts import Restored, RestoreProgress, Saved, SaveProgress, Swept


class Saver(Protocol):
    """See the module."""

    async def seal(self, checkpoint_id: str, run_number: int) -> Saved | None:
        """Take a checkpoint over from whoever wrote it: return its last generation, if any.

        From then on no run up to this number commits under it. Idempotent. Raises SupersededError
        if a later run was there; ParentGoneError if the work directory holds no checkpoints at all.
        """
        ...

    async def newest(self, checkpoint_id: str, *, before: int | None = None) -> Saved | None:
        """Return the last generation that can be read, or the last below `before`. Only reads."""
        ...

    async def open(
        self, checkpoint_id: str, *, run_number: int, image: str, parent: Saved | None
    ) -> Saved | None:
        """Begin to write a checkpoint, or go on with it; return its last generation.

        A new one over a `parent` begins with the parent's tree as its first generation, and needs
        the parent to be sealed or final: ParentGoneError, ParentBusyError. Without a parent a new
        one has none: None. Raises SupersededError, DamagedCheckpointError.
        """
        ...

    async def write(
        self,
        folder: Path,
        *,
        originals: Path | None = None,
        changes: Sequence[bytes] | None,
        final: bool = False,
        progress: Callable[[SaveProgress], None] = ...,
    ) -> Saved:
        """Commit what `folder` shows over the parent as the next generation.

        `changes` are the paths of everything touched since the last `Saved` that `open` or `write`
        has returned was captured; None compares all. If what is stored turns out to be older than
        that, all is compared, too. `originals` is the live folder that `folder` is a snapshot of,
        if it is one: what is in memory is read there. Raises SupersededError, ParentGoneError,
        DamagedCheckpointError, SaveRefusedError.
        """
        ...

    async def sweep(self) -> Swept:
        """Delete what the last writes have made superfluous, as far as it is time for that."""
        ...

    async def restore(
        self,
        saved: Saved,
        folder: Path,
        *,
        over: Sequence[Path],
        progress: Callable[[RestoreProgress], None] = ...,
    ) -> Restored:
        """Make a generation in an empty folder, as a layer over the folders `over`, topmost first.

        Deletions that would hide nothing of them are left out: an overlay would show them. What is
        made is neither complete nor gone after a failure. Raises NoRoomError,
        DamagedCheckpointError, ParentGoneError, SaveRefusedError.
        """
        ...

    async def rest(self) -> None:
        """Give back what an idle saver uses. The next call takes some tenths of a second longer."""
        ...

    async def close(self) -> None:
        """End, by force if need be. Idempotent; nothing may be called afterwards."""
        ...


# ── Why a call failed ────────────────────────────────────────────────────────


class SaverError(Exception):
    """A call failed. The text is a sentence for people, with a full stop.

    Nothing was committed, unless the store has lost its answer.
    """

    def __init__(self, sentence: str, *, retry_helps: bool | None = None) -> None:
        super().__init__(sentence)
        self.retry_helps = self.retry_helps_mostly if retry_helps is None else retry_helps
        """Whether the same call may succeed later without anybody's doing."""

    retry_helps_mostly: ClassVar[bool] = False


class SupersededError(SaverError):
    """Another run has taken the checkpoint over, or it has its final generation."""


class ParentGoneError(SaverError):
    """What is to be continued or restored was deleted, or never was there."""


class ParentBusyError(SaverError):
    """What is to be continued is still being written to."""

    retry_helps_mostly = True


class StorageTroubleError(SaverError):
    """The work directory can't be used: away, full, refused, of another format."""


class DamagedCheckpointError(SaverError):
    """What is stored is not what was written."""


class NoRoomError(SaverError):
    """The folder that is restored to, or read from, has no room left."""


class SaveRefusedError(SaverError):
    """Something in the folder can't be saved, or can't be made, as it is; the text names it."""


class SaverDiedError(SaverError):
    """The process that does it ended. What it did is as if it had never been begun."""

    retry_helps_mostly = True
