"""The files of one session: what is restored, the volume over it, and how both are saved.

    make:  saved before ─ restored ─ volume attached
    run:   the volume grows as it is written, and is saved again and again
    save_last ─ detach: all is saved, so the volume is not needed any more and goes

Without a checkpoint in its spec a session has its volume and nothing else; then that stays.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from agent.checkpointing.beginning import Beginner, Beginning, Place
from agent.checkpointing.capture import VolumeCapture
from agent.checkpointing.captures import Captures, Commit, NotSavedError
from agent.checkpointing.changes import BtrfsChanges, Unknown
from agent.checkpointing.image import image_of
from agent.checkpointing.layer import RestoredLayer
from agent.checkpointing.process import SaverProcess
from agent.checkpointing.top_folder import give_top
from agent.checkpointing.volume_note import remove_volume
from agent.earlier_files import CannotImportError, bring_in
from agent.volume.attachment import ACTIVE
from agent.volume.changes.point import UPPER
from agent.volume.live_files import LiveFiles
from agent.volume.loop_volume import IMAGE_NAME, LoopVolume
from agent.volume.monitor import VolumeMonitor
from agent.volume.snapshots import Snapshots
from checkpoints.format.ids import new_checkpoint_id
from common.tasks import TaskBag

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agent.checkpointing.capture import Views
    from agent.checkpointing.changes import ChangeFinder
    from agent.checkpointing.saver import Saver
    from agent.host_state import HostState
    from common.clock import Clock
    from common.messages import CheckpointStatus, VolumeStatus
    from common.session_spec import CheckpointSpec, SessionSettings, SessionSpec

RESTORED = "restored"
"""In the host's state folder: where the restored layer is."""
MASK = "mask"
"""There as well, while a session begins: what the session does not see of its image."""
_IMAGE_ROOT = Path("/")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Layers:
    """What a session's root is laid together from."""

    active: str
    """The folder of `upper` and `work`."""
    lower: tuple[str, ...]
    """Below it, topmost first; the image's root last."""


class SessionFiles:
    """One session's. `on_change` tells of their status."""

    def __init__(
        self,
        spec: SessionSpec,
        host: HostState,
        *,
        settings: Callable[[], SessionSettings],
        hide: Callable[[Path], None],
        clock: Clock,
        on_change: Callable[[], None],
    ) -> None:
        """`hide` makes in an empty folder the layer by which the session sees less of its image."""
        self._spec = spec
        self._host = host
        self._settings = settings
        self._hide = hide
        self._clock = clock
        self._on_change = on_change
        self._volume = LoopVolume(host.folder, spec.volume, clock=clock)
        self._volume_image = host.folder / IMAGE_NAME
        self._monitor = VolumeMonitor(self._volume, spec.volume, clock=clock, on_change=on_change)
        self._layer = RestoredLayer(host.folder / RESTORED, clock=clock)
        self._mask = host.folder / MASK
        self._rng = random.SystemRandom()
        self._tasks = TaskBag("session-files")
        self._saver: Saver | None = None
        self._beginning = Beginning(None, None, None, ())
        self._captures: Captures | None = None
        self._weakness = ""
        """What is less safe about the volume than it could be."""

    # ── Their life ───────────────────────────────────────────────────────────

    async def make(self, tell: Callable[[str], None]) -> Layers:
        """Make them ready to be used. `tell` is called with how far it is, in a few words.

        Raise VolumeError, SaverError, NoteUnreadableError, CannotImportError or OSError; `detach`
        takes away what there is then.
        """
        spec, image = self._spec.checkpoint, ""
        if spec is not None:
            self._saver = SaverProcess(self._spec.work_directory)
            image = spec.image or await asyncio.to_thread(image_of, self._spec.root.image)
            await self._begin(spec, self._saver, image, tell)
        tell("its volume is being attached")
        await self._volume.create()
        _log.info("volume_image_ready")
        mount_point = await self._volume.attach()
        _log.info("volume_attached")
        self._weakness = await self._volume.weakness() if spec is not None else ""
        active = mount_point / ACTIVE
        layer = self._beginning.layer
        if layer is not None:
            await asyncio.to_thread(give_top, active / UPPER, layer)
        await self._bring_in_earlier_files(active / UPPER, tell)
        if spec is not None and self._saver is not None:
            self._captures = self._composed(spec, self._saver, image)
        lower = () if layer is None else (str(layer),)
        return Layers(str(active), (*lower, str(_IMAGE_ROOT)))

    async def _begin(
        self, spec: CheckpointSpec, saver: Saver, image: str, tell: Callable[[str], None]
    ) -> None:
        beginner = Beginner(
            spec,
            Place(
                folder=self._host.folder,
                volume=self._volume,
                volume_image=self._volume_image,
                layer=self._layer,
            ),
            saver,
            run_number=self._spec.run_number,
            image=image,
            over=(self._mask, _IMAGE_ROOT),
            new_id=lambda: new_checkpoint_id(self._rng),
            clock=self._clock,
            tell=tell,
        )
        await asyncio.to_thread(self._make_mask)
        try:
            self._beginning = await beginner.begin()
        finally:
            await asyncio.to_thread(shutil.rmtree, self._mask)
        self._on_change()

    def _make_mask(self) -> None:
        """Have the layer that hides things of the image: what it hides, nobody has deleted."""
        shutil.rmtree(self._mask, ignore_errors=True)  # a killed agent's
        self._mask.mkdir(mode=0o700)
        self._hide(self._mask)

    def _composed(self, spec: CheckpointSpec, saver: Saver, image: str) -> Captures:
        active = self._volume.mount_point / ACTIVE
        views: Views = LiveFiles(active, clock=self._clock)
        finder: ChangeFinder = Unknown()
        takes_snapshots = self._volume.takes_snapshots
        if takes_snapshots:
            views = Snapshots(self._volume, tasks=self._tasks, clock=self._clock, rng=self._rng)
            finder = BtrfsChanges()
        capture = VolumeCapture(
            views,
            active,
            saver,
            finder,
            checkpoint_id=spec.id,
            is_full=lambda: takes_snapshots and self._is_full(),  # only they keep room
            clock=self._clock,
        )
        return Captures(
            spec,
            capture,
            image=image,
            first=self._beginning.first,
            interval_seconds=lambda: self._settings().checkpoint_interval_seconds,
            clock=self._clock,
            on_change=self._on_change,
        )

    async def _bring_in_earlier_files(
        self, upper: os.PathLike[str], tell: Callable[[str], None]
    ) -> None:
        """While the volume grows: they may be more than it holds at first."""
        earlier = self._host.earlier_workspace
        if not await asyncio.to_thread(earlier.is_dir):
            return
        tell("the files that it had before sessions had volumes are being copied")
        workspace = os.path.join(upper, self._spec.tool.working_directory.lstrip("/"))
        refusal: Exception | None = None
        await self._monitor.step()  # a copy that was given up may have filled it
        async with asyncio.TaskGroup() as group:
            growing = group.create_task(self._monitor.run())
            try:
                await bring_in(earlier, type(earlier)(workspace))
            except (CannotImportError, OSError) as error:
                refusal = error  # raised in here it would come out in a group
            growing.cancel()
        if refusal is not None:
            raise refusal

    async def run(self) -> None:
        """Keep them until cancelled. Raise SupersededError once they may not be saved any more."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._monitor.run())
            if self._captures is not None:
                group.create_task(self._captures.run())

    async def save_last(self) -> None:
        """Save what there is at the end; nothing may write any more. Raise SupersededError.

        Takes as long as the work directory does. Does nothing if they were never made.
        """
        if self._captures is not None:
            await self._captures.save_last()

    async def detach(self, *, patient: bool) -> None:
        """Let go of them: what is not saved stays in the volume's image. Idempotent.

        Raise VolumeError; see `Volume.detach`.
        """
        if self._captures is not None:
            await self._captures.close()
            await self._tasks.close()
        if self._saver is not None:
            await self._saver.close()
        await self._volume.detach(patient=patient)
        if self._captures is not None and self._captures.is_final:
            await asyncio.to_thread(remove_volume, self._host.folder, self._volume_image)
        await self._layer.drop()

    # ── What is asked of them ────────────────────────────────────────────────

    def save_now(self, requested_at: datetime | None = None) -> None:
        """Have them saved as they are now, soon. Does nothing before they are made."""
        if self._captures is not None:
            self._captures.save_now(requested_at)

    async def save(self) -> None:
        """Save them as they are now; return when they are. Raise NotSavedError."""
        if self._captures is None:
            raise NotSavedError("This session's files are not saved: it has no checkpoint.")
        await self._captures.save()

    def commits(self) -> tuple[Commit, ...]:
        """Return what was committed last, oldest first."""
        return () if self._captures is None else self._captures.commits()

    def volume_status(self) -> VolumeStatus | None:
        return self._monitor.status()

    def checkpoint_status(self) -> CheckpointStatus | None:
        return None if self._captures is None else self._captures.status()

    def earlier_status(self) -> CheckpointStatus | None:
        """Return what was saved of an earlier run, if anything was."""
        return self._beginning.earlier

    def warnings(self) -> tuple[str, ...]:
        """Return sentences for the status."""
        weakness = (self._weakness,) if self._weakness else ()
        captures = () if self._captures is None else self._captures.warnings()
        return (*self._beginning.warnings, *weakness, *captures)

    def growths(self) -> tuple[int, int]:
        """Return how often the volume grew, and how often it could not."""
        return self._monitor.growths, self._monitor.growth_failures

    def _is_full(self) -> bool:
        status = self._monitor.status()
        return status is not None and status.full
