"""From an image to its mounted tree, and nothing half done: all of it blocks.

Whatever a killed agent has left is taken over: its device, with what is in its cache; its mount, if
that is in this namespace; what it had not finished.
"""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from agent.volume import image, syscalls
from agent.volume.btrfs_calls import Tree, is_on
from agent.volume.volume import (
    ImageCorruptError,
    ImageInUseError,
    KernelLacksError,
    NotPermittedError,
    VolumeError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from agent.volume.loopdev import LoopDevice, LoopDevices

ACTIVE = "active"
SNAPSHOTS = "snapshots"

MOUNT_OPTIONS = "discard=async,metadata_ratio=8"
"""Deleted data goes back to the host. Every eighth piece of space taken for data brings one for
metadata, so that a volume full of data has room for names: 1 GB at 30."""

_FLAGS = syscalls.MS_NOATIME | syscalls.MS_NODEV | syscalls.MS_NOSUID
_DAMAGE = {errno.EIO, errno.EUCLEAN, errno.EEXIST, errno.ENOTDIR, errno.EINVAL, errno.ENOTTY}

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Attachment:
    """A mounted image. The open descriptors keep device and file what they are."""

    device: LoopDevice
    image_fd: int
    tree: Tree

    def close(self) -> None:
        """Let go; once it is unmounted, the kernel unbinds the device."""
        os.close(self.image_fd)
        self.device.close()


def attach(path: Path, mount_point: Path, devices: LoopDevices) -> Attachment:
    """Mount the image `path` and prepare what is in it; undo what was done if that fails."""
    facts = image.check(path)
    image.require_room(path)
    with contextlib.ExitStack() as undo:
        device = devices.take(path, facts)
        undo.callback(device.close)
        image_fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        undo.callback(os.close, image_fd)
        device.reread_size()
        _mount(path, device, mount_point)
        undo.callback(_unmount_quietly, mount_point)
        tree = _prepare(path, mount_point, image_bytes=facts.st_size)
        undo.pop_all()
    return Attachment(device, image_fd, tree)


def aligned(size_bytes: int) -> int:
    """Return the largest size that btrfs can have and is not above."""
    return size_bytes - size_bytes % 4096


def _mount(path: Path, device: LoopDevice, mount_point: Path) -> None:
    mount_point.mkdir(mode=0o700, exist_ok=True)
    if mount_point.is_mount():
        if not is_on(mount_point, device.node.name):
            raise ImageInUseError(f"something else is mounted at {mount_point}")
        if not os.statvfs(mount_point).f_flag & os.ST_RDONLY:
            return
        _unmount_quietly(mount_point)  # stopped after an error; mounted anew, it may go on
    try:
        syscalls.mount(str(device.node), str(mount_point), "btrfs", _FLAGS, MOUNT_OPTIONS)
    except OSError as error:
        raise _mount_error(error, path) from error


def _prepare(path: Path, mount_point: Path, *, image_bytes: int) -> Tree:
    """Finish what was interrupted, make the folders, drop what is left of captures."""
    try:
        tree = Tree(mount_point)
        size_bytes = tree.size_bytes()
        _widen_metadata(tree)
        if size_bytes < aligned(image_bytes):
            tree.resize(None)
        active = mount_point / ACTIVE
        tree.create_subvolume(active)
        for folder in (active / "upper", active / "work"):
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                folder.chmod(0o755)  # upper is the session's `/`, whatever the umask
        snapshots = mount_point / SNAPSHOTS
        snapshots.mkdir(mode=0o700, exist_ok=True)
        for leftover in snapshots.iterdir():
            _log.info("snapshot_dropped", name=leftover.name)
            tree.remove_subvolume(leftover)
    except OSError as error:
        if error.errno in _DAMAGE:
            raise ImageCorruptError(
                f"the volume's image {path} is damaged ({error.strerror}); {image.LEFT_AS_IT_IS}"
            ) from error
        raise image.translated(error, "the volume can't be prepared") from error
    return tree


def _widen_metadata(tree: Tree) -> None:
    try:
        tree.widen_metadata()
    except OSError as error:  # a full volume of another making works without
        _log.warning("volume_metadata_not_widened", reason=error.strerror)


def _unmount_quietly(mount_point: Path) -> None:
    with contextlib.suppress(OSError):
        syscalls.unmount(str(mount_point))


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
                f"{image.LEFT_AS_IT_IS}"
            )
