"""The volume as btrfs on a sparse loop file. See `volume` for what it promises.

The order of the steps makes every kill harmless:

- *grow*: the file becomes longer, the device takes notice, the file system takes the room. Stopped
  between, there is room that nobody uses; `attach` finishes it.
- *shrink*: the file system gives up the room (durably), the file becomes shorter, the device takes
  notice. Stopped between, `attach` gives the room back.
- *detach*: everything is written, the mount ends, our descriptor of the device is closed, and the
  kernel unbinds the device. Killed instead, the process's mount namespace ends and the kernel does
  the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from agent.volume import image, syscalls
from agent.volume.btrfs_calls import Tree, is_on
from agent.volume.loopdev import LoopDevice, LoopDevices
from agent.volume.threads import Threads
from agent.volume.volume import (
    BackingDiskFullError,
    CannotResizeError,
    ImageCorruptError,
    ImageInUseError,
    KernelLacksError,
    NotAttachedError,
    NotPermittedError,
    SnapshotExistsError,
    Space,
    StillInUseError,
    VolumeError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from common.clock import Clock
    from common.session_spec import VolumeLimits

IMAGE_NAME = "studios-volume.btrfs"
MOUNT_NAME = "volume"
SNAPSHOTS = "snapshots"

MOUNT_OPTIONS = "discard=async,metadata_ratio=8"
"""Deleted data goes back to the host. Every eighth piece of space taken for data brings one for
metadata, so that a volume full of data has room for names: 1 GB at 30."""

SETTLE_SECONDS_MAX = 20.0
"""How long the kernel may take to end a mount that its last process has left: it writes its cache
first, which on a slow disk takes seconds."""
SETTLE_INTERVAL_SECONDS = 0.05

_DAMAGE = {errno.EIO, errno.EUCLEAN, errno.EEXIST, errno.ENOTDIR, errno.EINVAL, errno.ENOTTY}

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Attached:
    device: LoopDevice
    image_fd: int
    tree: Tree


class BtrfsVolume:
    """One session's volume in `folder`, the host's state folder of that session."""

    def __init__(
        self,
        folder: Path,
        limits: VolumeLimits,
        *,
        clock: Clock,
        devices: LoopDevices | None = None,
        host_reserve_bytes: int = image.HOST_RESERVE_BYTES,
    ) -> None:
        assert limits.step_bytes > 0, "a volume grows by something"
        self._image = folder / IMAGE_NAME
        self.mount_point = folder / MOUNT_NAME
        self._limits = limits
        self._clock = clock
        self._devices = devices or LoopDevices()
        self._host_reserve_bytes = host_reserve_bytes
        self._threads = Threads("volume")
        self._shape = asyncio.Lock()
        self._attached: _Attached | None = None

    # ── The calls ────────────────────────────────────────────────────────────

    async def create(self) -> None:
        async with self._shape:
            await self._threads.run(
                image.create,
                self._image,
                _aligned(min(self._limits.initial_bytes, self._limits.limit_bytes)),
                host_reserve_bytes=self._host_reserve_bytes,
            )

    async def attach(self) -> Path:
        async with self._shape:
            end = self._clock.monotonic() + SETTLE_SECONDS_MAX
            while self._attached is None:
                try:
                    await self._threads.run(self._attach)
                except ImageInUseError:
                    # A killed agent's mount is on its way out: the kernel still writes its cache.
                    if self._clock.monotonic() >= end:
                        raise
                    await self._clock.sleep(SETTLE_INTERVAL_SECONDS)
            return self.mount_point

    async def snapshot(self, name: str) -> Path:
        path = self._snapshot_path(name)
        tree = self._present().tree
        try:
            await self._threads.run(tree.snapshot, self.mount_point / "active", path)
        except FileExistsError:
            raise SnapshotExistsError(f"there is a snapshot {name!r} already") from None
        except OSError as error:
            raise VolumeError(f"no snapshot can be taken: {error.strerror}") from error
        return path

    async def drop_snapshot(self, name: str) -> None:
        path = self._snapshot_path(name)
        tree = self._present().tree
        try:
            await self._threads.run(tree.remove_subvolume, path)
        except OSError as error:
            raise VolumeError(f"the snapshot {name!r} stays: {error.strerror}") from error

    async def true_free(self) -> int:
        return (await self.measure()).true_free_bytes

    async def measure(self) -> Space:
        return await self._threads.run(self._measure, self._present())

    async def grow(self, steps: int) -> int:
        assert steps > 0, "growing is by at least one step"
        async with self._shape:
            return await self._threads.run(self._grow, self._present(), steps)

    async def shrink(self) -> int:
        async with self._shape:
            return await self._threads.run(self._shrink, self._present())

    async def detach(self) -> None:
        async with self._shape:
            if self._attached is None:
                return
            await self._unmount(self._attached)
            os.close(self._attached.image_fd)
            self._attached.device.close()
            self._attached = None
            await self._wait_until_unbound()

    # ── Attaching: each of these runs in a thread ────────────────────────────

    def _attach(self) -> None:
        facts = image.check(self._image)
        with contextlib.ExitStack() as undo:
            device = self._devices.take(self._image, facts)
            undo.callback(device.close)
            image_fd = os.open(self._image, os.O_RDWR | os.O_CLOEXEC)
            undo.callback(os.close, image_fd)
            device.reread_size()
            self._mount(device)
            undo.callback(self._unmount_quietly)
            self._attached = _Attached(device, image_fd, self._prepare(facts.st_size))
            undo.pop_all()

    def _mount(self, device: LoopDevice) -> None:
        """Mount, or take over the mount that an agent in this very namespace has left."""
        self.mount_point.mkdir(mode=0o700, exist_ok=True)
        if self.mount_point.is_mount():
            if not is_on(self.mount_point, device.node.name):
                raise ImageInUseError(f"something else is mounted at {self.mount_point}")
            if not os.statvfs(self.mount_point).f_flag & os.ST_RDONLY:
                return
            with contextlib.suppress(OSError):  # stopped after an error; mounted anew, it may go on
                syscalls.unmount(str(self.mount_point))
        flags = syscalls.MS_NOATIME | syscalls.MS_NODEV | syscalls.MS_NOSUID
        try:
            syscalls.mount(str(device.node), str(self.mount_point), "btrfs", flags, MOUNT_OPTIONS)
        except OSError as error:
            raise _mount_error(error, self._image) from error

    def _prepare(self, image_bytes: int) -> Tree:
        """Finish what was interrupted, and make the folders, on the first time or always."""
        try:
            tree = Tree(self.mount_point)
            size_bytes = tree.size_bytes()
            self._widen_metadata(tree)
            if size_bytes < _aligned(image_bytes):
                tree.resize(None)
            active = self.mount_point / "active"
            tree.create_subvolume(active)
            for folder in (active / "upper", active / "work"):
                with contextlib.suppress(FileExistsError):
                    folder.mkdir()
                    folder.chmod(0o755)  # upper is the session's `/`, whatever the umask
            snapshots = self.mount_point / SNAPSHOTS
            snapshots.mkdir(mode=0o700, exist_ok=True)
            for leftover in snapshots.iterdir():
                _log.info("snapshot_dropped", name=leftover.name)
                tree.remove_subvolume(leftover)
        except OSError as error:
            if error.errno in _DAMAGE:
                raise ImageCorruptError(
                    f"the volume's image {self._image} is damaged: {error.strerror}"
                ) from error
            raise image.translated(error, "the volume can't be prepared") from error
        return tree

    def _widen_metadata(self, tree: Tree) -> None:
        try:
            tree.widen_metadata()
        except OSError as error:  # a full volume of another making works without
            _log.warning("volume_metadata_not_widened", reason=error.strerror)

    def _unmount_quietly(self) -> None:
        with contextlib.suppress(OSError):
            syscalls.unmount(str(self.mount_point))

    # ── Measuring and resizing: each of these runs in a thread ───────────────

    def _measure(self, attached: _Attached) -> Space:
        try:
            host_free_bytes = image.host_room_bytes(attached.image_fd)
            return attached.tree.measure(host_free_bytes=host_free_bytes)
        except OSError as error:
            raise VolumeError(f"the volume can't be measured: {error.strerror}") from error

    def _grow(self, attached: _Attached, steps: int) -> int:
        size_bytes = attached.tree.size_bytes()
        step_bytes = self._limits.step_bytes
        room = image.growable_bytes(
            attached.image_fd,
            size_bytes=size_bytes,
            host_reserve_bytes=self._host_reserve_bytes,
        )
        target = _aligned(min(size_bytes + steps * step_bytes, self._limits.limit_bytes))
        if target <= size_bytes:
            return size_bytes
        while target > size_bytes + room:
            target -= step_bytes
        if target <= size_bytes:
            raise BackingDiskFullError(
                "the host's disk is full: the volume can't grow by "
                f"{step_bytes // 1024**2} MB, {room // 1024**2} MB could be given to it"
            )
        image.extend(attached.image_fd, target)
        try:
            attached.device.reread_size()
        except OSError as error:
            raise VolumeError(f"the volume can't grow: {error.strerror}") from error
        attached.tree.resize(target)
        return target

    def _shrink(self, attached: _Attached) -> int:
        space = self._measure(attached)
        step_bytes = self._limits.step_bytes
        target = _aligned(space.size_bytes - step_bytes)
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

    async def _unmount(self, attached: _Attached) -> None:
        """Write everything, then unmount; a while of EBUSY is a process that is just ending."""
        end = self._clock.monotonic() + SETTLE_SECONDS_MAX
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

    async def _wait_until_unbound(self) -> None:
        end = self._clock.monotonic() + SETTLE_SECONDS_MAX
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

    def _present(self) -> _Attached:
        if self._attached is None:
            raise NotAttachedError("the volume is not attached")
        return self._attached

    def _snapshot_path(self, name: str) -> Path:
        assert name
        assert name not in {".", ".."}
        assert "/" not in name
        return self.mount_point / SNAPSHOTS / name


def _aligned(size_bytes: int) -> int:
    """Return the largest size btrfs can have that is not above."""
    return size_bytes - size_bytes % 4096


def _mount_error(error: OSError, path: Path) -> VolumeError:
    match error.errno:
        case errno.ENODEV:
            return KernelLacksError("the kernel has no btrfs: load its module on the host")
        case errno.EPERM | errno.EACCES:
            return NotPermittedError("the agent may not mount: it needs CAP_SYS_ADMIN")
        case errno.EBUSY:
            return ImageInUseError(
                f"the image {path} is mounted elsewhere, and can't be shared: read-only after an "
                "error, or still being written"
            )
        case _:
            return ImageCorruptError(
                f"the volume's image {path} is damaged: the kernel refuses it ({error.strerror}); "
                "it was left as it is"
            )
