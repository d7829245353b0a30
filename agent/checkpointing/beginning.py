"""What a run begins with: its parent's files, and those that nobody saved before it.

    a volume of an earlier run is left ──▶ saved as that run's last generation ──▶ removed
    parent ──▶ sealed ──▶ restored, as a layer ──▶ the first generation of this run's checkpoint

Each step is harmless to repeat, so an agent that is killed at any point begins again from the top.
What is left of an earlier run can be newer than the parent that the control plane knows; then the
run goes on from there. What can't be saved is kept under another name, which the status tells.

The earlier run's note stays until this run's own replaces it: once the volume has been saved and
removed, nothing else on earth knows of that generation if the agent is killed before its report.
This run's own note is believed as to what its volume lies over, rather than the control plane.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import structlog

from agent.checkpointing.saver import (
    DamagedCheckpointError,
    ParentGoneError,
    SaverError,
    StorageTroubleError,
    SupersededError,
)
from agent.checkpointing.volume_note import (
    VolumeNote,
    put_aside,
    read_note,
    remove_image,
    write_note,
)
from agent.volume.attachment import ACTIVE
from agent.volume.changes.point import UPPER
from common.messages import CheckpointPhase, CheckpointStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from agent.checkpointing.facts import RestoreProgress, Saved
    from agent.checkpointing.layer import RestoredLayer
    from agent.checkpointing.saver import Saver
    from agent.volume.loop_volume import LoopVolume
    from common.clock import Clock
    from common.session_spec import CheckpointSpec

T = TypeVar("T")

PATIENCE_SECONDS = 600.0
"""With a store that is away. Whoever waits for a session sees why, and can stop it; after this the
start has failed, and nothing is lost."""
RETRY_SECONDS = 5.0
_MB = 1024**2

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Beginning:
    """What there is before the volume is made."""

    first: Saved | None
    """The first generation of the run's own checkpoint: what it was restored from."""
    layer: Path | None
    """What was restored, to be put over the image."""
    earlier: CheckpointStatus | None
    """A checkpoint of an earlier run that was saved first."""
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a session's files lie on the host."""

    folder: Path
    volume: LoopVolume
    volume_image: Path
    layer: RestoredLayer


class Beginner:
    """For one run."""

    def __init__(
        self,
        spec: CheckpointSpec,
        place: Place,
        saver: Saver,
        *,
        run_number: int,
        image: str,
        over: Sequence[Path],
        new_id: Callable[[], str],
        clock: Clock,
        tell: Callable[[str], None],
    ) -> None:
        """`image` is what the root is made from, `over` its layers, topmost first."""
        self._spec = spec
        self._place = place
        self._saver = saver
        self._run_number = run_number
        self._image = image
        self._over = over
        self._new_id = new_id
        self._clock = clock
        self._tell = tell
        self._warnings: list[str] = []

    async def begin(self) -> Beginning:
        """Do it. Raise SaverError, VolumeError, NoteUnreadableError or OSError."""
        note = await asyncio.to_thread(read_note, self._place.folder)
        left, earlier = None, None
        has_volume = await asyncio.to_thread(self._place.volume_image.exists)
        goes_on = note is not None and note.checkpoint_id == self._spec.id
        if note is not None and goes_on:
            parent = await self._base(note)
        else:
            if has_volume:
                note = note or await self._noted()
                left = await self._save_left(note)
            elif note is not None:
                left = await self._saved_before(note)
            earlier = self._status(left, note) if left is not None else None
            parent = await self._parent(left, note)
        layer = None
        if parent is not None and parent.entries:
            parent, layer = await self._restore(parent, may_fall_back=not goes_on)
        self._tell("its checkpoint is being begun")
        first = await self._patiently(
            lambda: self._saver.open(
                self._spec.id, run_number=self._run_number, image=self._image, parent=parent
            )
        )
        if not (goes_on and has_volume) and first is not None:
            _check_volume(first, parent)
        new = VolumeNote(
            checkpoint_id=self._spec.id,
            run_number=self._run_number,
            image=self._image,
            parent_id=parent.checkpoint_id if parent else None,
            base_root=parent.root if parent else "",
        )
        await asyncio.to_thread(write_note, self._place.folder, new)
        return Beginning(first, layer, earlier, tuple(self._warnings))

    # ── What an earlier run has left ─────────────────────────────────────────

    async def _noted(self) -> VolumeNote:
        """Give a volume of the version without checkpoints its note, and with it an id."""
        note = VolumeNote(
            checkpoint_id=self._new_id(),
            run_number=0,
            image=self._image,
            parent_id=None,
            base_root="",
        )
        await asyncio.to_thread(write_note, self._place.folder, note)
        return note

    async def _save_left(self, note: VolumeNote) -> Saved | None:
        """Save the volume of an earlier run under its checkpoint, and remove it; not its note."""
        self._tell("the files that its last session has not saved are being saved")
        try:
            saved = await self._patiently(lambda: self._write_left(note))
        except SaverError as error:
            if error.retry_helps or isinstance(error, StorageTroubleError):
                raise
            await self._keep(note.run_number, str(error))
            return None
        await asyncio.to_thread(remove_image, self._place.folder, self._place.volume_image)
        _log.info("left_volume_saved", checkpoint=note.checkpoint_id, earlier_run=note.run_number)
        return saved

    async def _saved_before(self, note: VolumeNote) -> Saved | None:
        """Return what a run has saved last whose volume is gone and whose note is not, if anything.

        Its end, or this run's beginning, was killed before anybody was told.
        """
        try:
            newest = await self._patiently(lambda: self._saver.newest(note.checkpoint_id))
            if newest is None or newest.final:
                return newest
            return await self._patiently(
                lambda: self._saver.seal(note.checkpoint_id, self._run_number)
            )
        except (SupersededError, ParentGoneError) as error:  # others have gone on with it, or not
            _log.info("earlier_checkpoint_not_used", reason=str(error))
            return None

    async def _write_left(self, note: VolumeNote) -> Saved:
        own_id = note.checkpoint_id
        try:
            opened = await self._saver.open(
                own_id, run_number=self._run_number, image=note.image, parent=None
            )
        except SupersededError:
            newest = await self._saver.newest(own_id)
            if newest is None or not newest.final:
                raise
            return newest  # nobody but this volume's run ends it: only the removal was missed
        if opened is None and note.base_root:
            raise ParentGoneError(f"Checkpoint {own_id}, over which they lie, was deleted.")
        mount_point = await self._place.volume.attach()
        try:
            folder = mount_point / ACTIVE / UPPER
            return await self._saver.write(folder, changes=None, final=True)
        finally:
            await self._place.volume.detach()

    async def _keep(self, number: int, reason: str) -> None:
        aside = await asyncio.to_thread(
            put_aside, self._place.folder, self._place.volume_image, number
        )
        _log.warning("left_volume_kept", path=str(aside), reason=reason)
        self._warnings.append(
            f"What an earlier session changed on this machine could not be saved: {reason} It is "
            f"kept in {aside}; ask whoever runs this machine to look into it, or to delete it."
        )

    def _status(self, saved: Saved, note: VolumeNote | None) -> CheckpointStatus:
        return CheckpointStatus(
            id=saved.checkpoint_id,
            phase=CheckpointPhase.FINALIZED if saved.final else CheckpointPhase.INTERIM,
            generation=saved.generation,
            committed_at=saved.created_at,
            entries=saved.entries,
            file_bytes=saved.file_bytes,
            stored_bytes=saved.stored_bytes,
            torn_files=saved.torn,
            image=saved.image,
            parent_id=note.parent_id if note else None,
        )

    # ── What it goes on from ─────────────────────────────────────────────────

    async def _parent(self, left: Saved | None, note: VolumeNote | None) -> Saved | None:
        """Return the last generation of the parent, or of what was just saved if that is later."""
        parent_id = self._spec.parent_id
        if parent_id is None:
            return left
        self._tell("its checkpoint is being taken over")
        number = self._spec.parent_run_number or self._run_number
        parent = await self._patiently(lambda: self._saver.seal(parent_id, number))
        if parent is None:
            raise ParentGoneError(
                f"Checkpoint {parent_id} holds nothing any more: start from another one."
            )
        if left is not None and note is not None and left.checkpoint_id != parent_id:
            if self._is_later(note, parent):
                return left
            if left.run_number == self._run_number:  # it was written just now
                self._warnings.append(
                    "An earlier session has left files on this machine that are older than what "
                    f"this one goes on from. They were saved as checkpoint {left.checkpoint_id}: "
                    "add it as a Studio of its own to look into it."
                )
        later = "A later state of the files can't be read, an earlier one was restored"
        self._warnings += [f"{later}: {damage}." for damage in parent.passed_over]
        if gone := parent.left_out:
            self._warnings.append(f"{gone}, could not be saved and is not here any more.")
        return parent

    def _is_later(self, note: VolumeNote, parent: Saved) -> bool:
        """Say whether what was left here is what the Studio goes on from.

        Numbers of runs are compared within one Studio. Where the control plane names a checkpoint
        of another one, it knows of nothing that this Studio has saved.
        """
        is_of_another_studio = self._spec.parent_run_number is not None
        goes_on = note.parent_id == parent.checkpoint_id
        return is_of_another_studio or goes_on or note.run_number > parent.run_number

    async def _base(self, note: VolumeNote) -> Saved | None:
        """Return the generation that this run's volume lies over, or was to."""
        parent_id = note.parent_id
        if parent_id is None:
            return None
        saved = await self._patiently(lambda: self._saver.newest(parent_id))
        while saved is not None and saved.root != note.base_root:
            before = saved.generation
            saved = await self._patiently(partial(self._saver.newest, parent_id, before=before))
        if saved is None:
            raise ParentGoneError("What this session's volume lies over is not stored any more.")
        return saved

    async def _restore(self, parent: Saved, *, may_fall_back: bool) -> tuple[Saved, Path]:
        while True:
            wanted = parent
            self._warn_of_other_image(wanted)
            try:
                path = await self._patiently(partial(self._make_layer, wanted))
            except DamagedCheckpointError as error:
                older = await self._saver.newest(wanted.checkpoint_id, before=wanted.generation)
                if older is None or not may_fall_back:
                    raise
                self._warnings.append(
                    f"The last state of the files is damaged, that of {older.created_at:%F %T} UTC "
                    f"was restored: {error}"
                )
                parent = older
            else:
                return wanted, path

    async def _make_layer(self, saved: Saved) -> Path:
        return await self._place.layer.make(
            self._saver, saved, over=self._over, progress=partial(self._tell_restored, saved)
        )

    def _warn_of_other_image(self, parent: Saved) -> None:
        if parent.image and self._image and parent.image != self._image:
            self._warnings.append(
                f"The files were saved over another image ({parent.image}) than this session has "
                f"({self._image}): programs that were installed may miss libraries. If something "
                "fails, start it with the image that it had."
            )

    def _tell_restored(self, saved: Saved, progress: RestoreProgress) -> None:
        self._tell(
            f"its files are being restored: {progress.file_bytes // _MB} of "
            f"{saved.file_bytes // _MB} MB"
        )

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Try again for as long as that may help."""
        end = self._clock.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await call()
            except SaverError as error:
                if not error.retry_helps or self._clock.monotonic() >= end:
                    raise
                _log.warning("beginning_waits", reason=str(error))
                self._tell(f"it is tried again: {error}")
            await self._clock.sleep(RETRY_SECONDS)


def _check_volume(first: Saved, parent: Saved | None) -> None:
    """Fail if the run has saved more than it began with: that was on a volume which is not here."""
    if parent is None or first.root != parent.root:
        raise ParentGoneError(
            "The volume of this session is not on this machine any more. What was saved of it is "
            "safe: stop the Studio and start it again."
        )
