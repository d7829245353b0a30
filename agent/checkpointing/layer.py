"""What was restored, as a layer: a disk image of its own, read-only once it is complete.

    image made ─ mounted ─ restored into ─ written ─ read-only ─ the mark says that it is complete

The mark is a small file beside the image that names the tree. It comes last and goes first, so an
image without one is worth nothing, whatever ended the agent that made it, and is made anew. One
with the mark of the wanted tree is mounted as it is.

It is no part of the session's volume: a checkpoint may be larger than what its run may add. How
much room it takes is known before only roughly. Holes take none, and each name takes some. So the
image begins with a fair guess, as much of it as the host's disk has, and grows while it is filled;
it never takes what other sessions on the disk were promised.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from typing import TYPE_CHECKING

import msgspec
import structlog

from agent.checkpointing.saver import NoRoomError
from agent.root import kernel
from agent.volume import image, syscalls
from agent.volume.attachment import ACTIVE, aligned
from agent.volume.changes.point import UPPER
from agent.volume.loop_volume import IMAGE_NAME, MOUNT_NAME, LoopVolume
from agent.volume.monitor import VolumeMonitor
from agent.volume.neighbours import promised_bytes, promised_to_others_bytes
from agent.volume.policy import gigabytes
from agent.volume.volume import BackingDiskFullError, StillInUseError, VolumeError
from common import wire
from common.session_spec import VolumeLimits
from common.tasks import first_of
from common.threads import Threads
from common.wire import MalformedMessageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agent.checkpointing.facts import Restored, RestoreProgress, Saved
    from agent.checkpointing.saver import Saver
    from common.clock import Clock

MARK_NAME = "complete.json"
ENTRY_BYTES = 4096
"""What a name takes besides the file's size. Measured: 500 to 700 bytes of btrfs's metadata, and
content is rounded up to blocks of 4 KiB, by half of one on average."""
BEGINNING_BYTES = 256 * 1024**2
"""What the file system itself takes, generously: sparse, so nothing is lost."""
FREE_BYTES_MIN = 128 * 1024**2
"""With less it grows: a restoration writes as much in the time that a growth takes."""
STEP_BYTES = 256 * 1024**2
LIMIT_BYTES = 1 << 50
"""None: the host's disk is the limit."""
SIZE_BYTES_MIN = 256 * 1024**2
"""btrfs would make none below 109 MiB, and this one has to hold something."""
_READ_ONLY = (
    kernel.MS_REMOUNT | kernel.MS_RDONLY | kernel.MS_NOATIME | kernel.MS_NODEV | kernel.MS_NOSUID
)
_LAYERED_MOUNTS_MAX = 4
"""One on top of another, as killed agents may leave them in the same namespace."""

_log = structlog.get_logger()


class _Mark(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which tree the image holds, all of it."""

    root: str
    over: tuple[str, ...]
    left_out: int
    """Deletions that would have hidden nothing: they might today, so it can't be used again."""


class RestoredLayer:
    """One session's, in a folder of its own below the session's host state folder."""

    def __init__(
        self, folder: Path, *, clock: Clock, host_reserve_bytes: int = image.HOST_RESERVE_BYTES
    ) -> None:
        self._folder = folder
        self._image = folder / IMAGE_NAME
        self._mount_point = folder / MOUNT_NAME
        self._mark = folder / MARK_NAME
        self._clock = clock
        self._host_reserve_bytes = host_reserve_bytes
        self._threads = Threads(1, "restored-layer")
        self._volume: LoopVolume | None = None

    async def make(
        self,
        saver: Saver,
        saved: Saved,
        *,
        over: Sequence[Path],
        progress: Callable[[RestoreProgress], None] = lambda _: None,
    ) -> Path:
        """Return the folder that shows a generation, read-only, to lie over `over`.

        Raises what `Saver.restore` does, NoRoomError above all, and VolumeError; then there is
        nothing left of it. Cancelled, too.
        """
        wanted = _Mark(root=saved.root, over=tuple(map(str, over)), left_out=0)
        if await self._threads.run(self._read_mark) == wanted:
            try:
                return await self._use_again(saved)
            except VolumeError as error:
                _log.warning("restored_layer_unusable", reason=str(error))
        await self.drop()
        try:
            restored = await self._restore(saver, saved, over, progress)
            mark = msgspec.structs.replace(wanted, left_out=restored.left_out)
            await self._threads.run(self._complete, mark)
        except BaseException:
            await self._drop_after_failure()
            raise
        _log.info("layer_restored", entries=restored.entries, file_bytes=restored.file_bytes)
        return self._path

    async def drop(self) -> None:
        """Unmount and delete it, whoever has left it. Idempotent.

        Raises StillInUseError while it is mounted here and used, and VolumeError.
        """
        await self._threads.run(self._forget)
        if self._volume is not None:
            await self._detach(self._volume)
            self._volume = None
        await self._threads.run(self._delete)

    @property
    def _path(self) -> Path:
        return self._mount_point / ACTIVE / UPPER

    # ── Restoring ────────────────────────────────────────────────────────────

    async def _use_again(self, saved: Saved) -> Path:
        if self._volume is None:
            volume = self._new_volume(SIZE_BYTES_MIN, 0)
            await volume.attach()
            self._volume = volume
            await self._threads.run(self._make_read_only)
        _log.info("restored_layer_used_again", root=saved.root)
        return self._path

    async def _restore(
        self,
        saver: Saver,
        saved: Saved,
        over: Sequence[Path],
        progress: Callable[[RestoreProgress], None],
    ) -> Restored:
        needed_bytes = BEGINNING_BYTES + saved.file_bytes + saved.entries * ENTRY_BYTES
        promised = await self._threads.run(self._promised_bytes)
        room_bytes = await self._threads.run(self._room_bytes, promised)
        initial_bytes = max(SIZE_BYTES_MIN, min(needed_bytes, room_bytes))
        volume = self._new_volume(initial_bytes, promised)
        try:
            await volume.create()
            await volume.attach()
            self._volume = volume
            return await self._restore_into(volume, saver, saved, over, progress)
        except (NoRoomError, BackingDiskFullError) as error:
            raise NoRoomError(
                f"The files of this checkpoint need about {gigabytes(needed_bytes)} at "
                f"{self._folder}, and {gigabytes(room_bytes)} of that disk can be given to them: "
                "make room there, or start the session on a machine with a larger disk."
            ) from error

    async def _restore_into(
        self,
        volume: LoopVolume,
        saver: Saver,
        saved: Saved,
        over: Sequence[Path],
        progress: Callable[[RestoreProgress], None],
    ) -> Restored:
        """Restore, and have the volume grow meanwhile."""
        monitor = VolumeMonitor(volume, self._limits(SIZE_BYTES_MIN), clock=self._clock)
        try:
            async with asyncio.TaskGroup() as group:
                growing = group.create_task(monitor.run(), name="restored-layer/growth")
                try:
                    return await saver.restore(saved, self._path, over=over, progress=progress)
                finally:
                    growing.cancel()
        except BaseExceptionGroup as errors:
            raise first_of(errors) from None

    def _new_volume(self, initial_bytes: int, promised: int) -> LoopVolume:
        return LoopVolume(
            self._folder,
            self._limits(aligned(initial_bytes)),
            clock=self._clock,
            host_reserve_bytes=self._host_reserve_bytes + promised,
        )

    def _limits(self, initial_bytes: int) -> VolumeLimits:
        return VolumeLimits(
            initial_bytes=initial_bytes,
            free_bytes_min=FREE_BYTES_MIN,
            step_bytes=STEP_BYTES,
            limit_bytes=LIMIT_BYTES,
        )

    # ── The host's disk: each of these runs in a thread ──────────────────────

    def _promised_bytes(self) -> int:
        """Return what the volumes of this and of other sessions may still take from the disk."""
        session_image = self._folder.parent / IMAGE_NAME
        promised = promised_to_others_bytes(session_image)
        with contextlib.suppress(OSError):
            facts = session_image.stat()
            promised += promised_bytes(facts.st_size, facts)
        return promised

    def _room_bytes(self, promised: int) -> int:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        room = image.host_room_bytes(self._folder) - promised - self._host_reserve_bytes
        return max(0, room)

    def _complete(self, mark: _Mark) -> None:
        """Have all of it on the disk before the mark says so."""
        self._make_read_only()
        unfinished = self._mark.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            file.write(wire.encode(mark))
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._mark)
        _sync(self._folder)

    def _make_read_only(self) -> None:
        try:
            fd = os.open(self._mount_point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                syscalls.syncfs(fd)
            finally:
                os.close(fd)
            kernel.mount("none", str(self._mount_point), None, _READ_ONLY)
        except OSError as error:
            raise image.translated(error, "what was restored can't be completed") from error

    def _read_mark(self) -> _Mark | None:
        try:
            return wire.decode(self._mark.read_bytes(), _Mark)
        except (OSError, MalformedMessageError):
            return None

    def _forget(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._mark.unlink()
            _sync(self._folder)

    async def _detach(self, volume: LoopVolume) -> None:
        try:
            await volume.detach()
        except StillInUseError:
            if await self._threads.run(self._mount_point.is_mount):
                raise  # else another namespace has it, whose end gives the room back

    def _delete(self) -> None:
        for _ in range(_LAYERED_MOUNTS_MAX):
            if not self._mount_point.is_mount():
                break
            try:
                syscalls.unmount(str(self._mount_point))
            except OSError as error:
                raise StillInUseError(
                    f"what was restored before is in use: {self._mount_point}"
                ) from error
        if self._folder.exists():
            shutil.rmtree(self._folder)

    async def _drop_after_failure(self) -> None:
        try:
            await self.drop()
        except (VolumeError, OSError) as error:
            _log.warning("restored_layer_stays", reason=str(error))


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
