"""The volume as a file system on a sparse loop file. See `volume` for what it promises.

A new image becomes what the host can do best, see `kinds`; one that is there stays what it is.

The order of the steps makes every kill harmless:

- *grow*: the file becomes longer, the device takes notice, the file system takes the room. Stopped
  between, there is room that nobody uses; `attach` finishes it.
- *shrink*, where it can: the file system gives up the room (durably), the file becomes shorter, the
  device takes notice. Stopped between, `attach` gives the room back.
- *detach*: everything is written, the mount ends, our descriptor of the device is closed, and the
  kernel unbinds the device. Killed instead, the process's mount namespace ends and the kernel does
  the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from typing import TYPE_CHECKING

from agent.volume import attachment, image, kinds, syscalls
from agent.volume.attachment import ACTIVE, SNAPSHOTS, Attachment, aligned
from agent.volume.loopdev import LoopDevices
from agent.volume.neighbours import promised_to_others_bytes
from agent.volume.volume import (
    BackingDiskFullError,
    CannotResizeError,
    ImageInUseError,
    NoSnapshotsError,
    NotAttachedError,
    SnapshotExistsError,
    Space,
    StillInUseError,
    VolumeError,
)
from common.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.volume.file_system import FileSystem
    from common.clock import Clock
    from common.session_spec import VolumeLimits

IMAGE_NAME = "studios-volume.btrfs"
"""Of whatever kind it is: that is told by what is in it. With one name there is never a second
image, and all that looks for one (neighbours, who deletes Studios) knows where.
"""
MOUNT_NAME = "volume"

THREADS_MAX = 4
"""A growth, a measurement and a snapshot at once, and one to spare: a snapshot waits for the disk,
and the growth must not wait for the snapshot."""
SETTLE_SECONDS_MAX = 20.0
"""How long the kernel may take to end a mount that its last process has left: it writes its cache
first, which on a slow disk takes seconds."""
IMPATIENT_SECONDS_MAX = 1.0  # for the same, when somebody is known to keep it
SETTLE_INTERVAL_SECONDS = 0.05


class LoopVolume:
    """One session's volume in `folder`, the host's state folder of that session."""

    def __init__(
        self,
        folder: Path,
        limits: VolumeLimits,
        *,
        clock: Clock,
        devices: LoopDevices | None = None,
        host_reserve_bytes: int = image.HOST_RESERVE_BYTES,
        preferred: Sequence[FileSystem] = kinds.PREFERRED,
    ) -> None:
        """`preferred` are the kinds that a new image may become, best first."""
        assert limits.step_bytes > 0, "a volume grows by something"
        self._image = folder / IMAGE_NAME
        self.mount_point = folder / MOUNT_NAME
        self._limits = limits
        self._clock = clock
        self._devices = devices or LoopDevices()
        self._host_reserve_bytes = host_reserve_bytes
        self._preferred = preferred
        self._threads = Threads(THREADS_MAX, "volume")
        self._shape = asyncio.Lock()
        self._attached: Attachment | None = None

    # ── The calls ────────────────────────────────────────────────────────────

    async def create(self) -> None:
        async with self._shape:
            await self._threads.run(
                image.create,
                self._image,
                aligned(min(self._limits.initial_bytes, self._limits.limit_bytes)),
                size_bytes_max=aligned(self._limits.limit_bytes),
                host_reserve_bytes=self._host_reserve_bytes,
                preferred=self._preferred,
            )

    async def attach(self) -> Path:
        async with self._shape:
            end = self._clock.monotonic() + SETTLE_SECONDS_MAX
            while self._attached is None:
                try:
                    await self._threads.run(self._attach)
                except ImageInUseError as error:
                    # A killed agent's mount is on its way out: the kernel still writes its cache.
                    if not error.retry_helps or self._clock.monotonic() >= end:
                        raise
                    await self._clock.sleep(SETTLE_INTERVAL_SECONDS)
            return self.mount_point

    async def snapshot(self, name: str) -> Path:
        path = self._snapshot_path(name)
        attached = self._present()
        if not attached.kind.takes_snapshots:
            raise NoSnapshotsError(f"a volume of {attached.kind.name} takes no snapshots")
        tree = attached.tree
        try:
            await self._threads.run(tree.snapshot, self.mount_point / ACTIVE, path)
        except FileExistsError:
            raise SnapshotExistsError(f"there is a snapshot {name!r} already") from None
        except OSError as error:
            raise VolumeError(f"no snapshot can be taken: {error.strerror}") from error
        return path

    async def drop_snapshot(self, name: str) -> None:
        path = self._snapshot_path(name)
        attached = self._present()
        if not attached.kind.takes_snapshots:
            return
        try:
            await self._threads.run(attached.tree.drop_snapshot, path)
        except OSError as error:
            raise VolumeError(f"the snapshot {name!r} stays: {error.strerror}") from error

    @property
    def takes_snapshots(self) -> bool:
        return self._present().kind.takes_snapshots

    async def weakness(self) -> str:
        return await self._threads.run(kinds.weakness_of, self._present().kind)

    async def true_free(self) -> int:
        return (await self.measure()).true_free_bytes

    async def measure(self) -> Space:
        attached = self._present()
        space = await self._threads.run(self._measure, attached)
        if self._attached is not attached:
            # It is being unmounted: what was measured may be the folder below, and the host's.
            raise NotAttachedError("the volume is not attached any more")
        return space

    async def settle(self) -> None:
        tree = self._present().tree
        try:
            await self._threads.run(tree.settle)
        except OSError as error:
            raise VolumeError(f"deleted files still count as used: {error.strerror}") from error

    async def grow(self, steps: int) -> int:
        assert steps > 0, "growing is by at least one step"
        async with self._shape:
            return await self._threads.run(self._grow, self._present(), steps)

    async def shrink(self) -> int:
        async with self._shape:
            return await self._threads.run(self._shrink, self._present())

    async def detach(self, *, patient: bool = True) -> None:
        seconds = SETTLE_SECONDS_MAX if patient else IMPATIENT_SECONDS_MAX
        async with self._shape:
            if self._attached is None:
                return
            attached, self._attached = self._attached, None
            try:
                await self._unmount(attached, seconds)
            except BaseException:
                self._attached = attached
                raise
            await self._threads.run(attached.close)
            await self._wait_until_unbound(seconds)

    def _attach(self) -> None:
        self._attached = attachment.attach(self._image, self.mount_point, self._devices)

    # ── Measuring and resizing: each of these runs in a thread ───────────────

    def _measure(self, attached: Attachment) -> Space:
        try:
            host_free_bytes = image.host_room_bytes(attached.image_fd)
            return attached.tree.measure(host_free_bytes=host_free_bytes)
        except OSError as error:
            raise VolumeError(f"the volume can't be measured: {error.strerror}") from error

    def _grow(self, attached: Attachment, steps: int) -> int:
        size_bytes = attached.tree.size_bytes()
        step_bytes = self._limits.step_bytes
        others = promised_to_others_bytes(self._image)
        room = image.growable_bytes(
            attached.image_fd,
            size_bytes=size_bytes,
            others_bytes=others,
            host_reserve_bytes=self._host_reserve_bytes,
        )
        target = aligned(min(size_bytes + steps * step_bytes, self._limits.limit_bytes))
        if target <= size_bytes:
            return size_bytes
        while target > size_bytes + room:
            target -= step_bytes
        if target <= size_bytes:
            raise BackingDiskFullError(
                "the host's disk is full: the volume can't grow by "
                f"{step_bytes // 1024**2} MB: {image.room_text(room, others_bytes=others)}"
            )
        image.extend(attached.image_fd, target)
        try:
            attached.device.reread_size()
        except OSError as error:
            raise VolumeError(f"the volume can't grow: {error.strerror}") from error
        attached.tree.resize(target)
        return target

    def _shrink(self, attached: Attachment) -> int:
        space = self._measure(attached)
        if not attached.kind.shrinks:
            return space.size_bytes
        step_bytes = self._limits.step_bytes
        target = aligned(space.size_bytes - step_bytes)
        if target < self._limits.initial_bytes:
            return space.size_bytes
        if space.true_free_bytes - step_bytes < self._limits.free_bytes_min:
            raise CannotResizeError("the volume can't shrink now: its space is in use")
        attached.tree.resize(target)
        try:
            os.ftruncate(attached.image_fd, target)
            attached.device.reread_size()
        except OSError as error:
            raise VolumeError(f"the volume's image can't be cut: {error.strerror}") from error
        return target

    # ── Detaching ────────────────────────────────────────────────────────────

    async def _unmount(self, attached: Attachment, seconds: float) -> None:
        """Write everything, then unmount; a while of EBUSY is a process that is just ending."""
        end = self._clock.monotonic() + seconds
        while True:
            try:
                with contextlib.suppress(OSError):  # a stopped file system can't; it can unmount
                    await self._threads.run(attached.tree.sync)
                await self._threads.run(syscalls.unmount, str(self.mount_point))
            except OSError as error:
                if error.errno == errno.EINVAL:  # somebody else has unmounted it
                    return
                if self._clock.monotonic() >= end:
                    raise StillInUseError(
                        f"processes hold files of the volume open: {self.mount_point}"
                    ) from error
            else:
                return
            await self._clock.sleep(SETTLE_INTERVAL_SECONDS)

    async def _wait_until_unbound(self, seconds: float) -> None:
        end = self._clock.monotonic() + seconds
        while await self._threads.run(self._is_bound):
            if self._clock.monotonic() >= end:
                raise StillInUseError(
                    f"another mount namespace still has the image {self._image} mounted"
                )
            await self._clock.sleep(SETTLE_INTERVAL_SECONDS)

    def _is_bound(self) -> bool:
        try:
            device = self._devices.find(self._image.stat())
        except FileNotFoundError:
            return False
        if device is None:
            return False
        device.close()
        return True

    def _present(self) -> Attachment:
        if self._attached is None:
            raise NotAttachedError("the volume is not attached")
        return self._attached

    def _snapshot_path(self, name: str) -> Path:
        assert name
        assert name not in {".", ".."}
        assert "/" not in name
        return self.mount_point / SNAPSHOTS / name
