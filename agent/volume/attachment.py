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

from agent.volume import image, syscalls
from agent.volume.volume import (
    ImageCorruptError,
    ImageInUseError,
    KernelLacksError,
    NotPermittedError,
    VolumeError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from agent.volume.file_system import FileSystem, MountedTree
    from agent.volume.loopdev import LoopDevice, LoopDevices

ACTIVE = "active"
SNAPSHOTS = "snapshots"

_FLAGS = syscalls.MS_NOATIME | syscalls.MS_NODEV | syscalls.MS_NOSUID
_DAMAGE = {errno.EIO, errno.EUCLEAN, errno.EEXIST, errno.ENOTDIR, errno.EINVAL, errno.ENOTTY}


@dataclass(frozen=True, slots=True)
class Attachment:
    """A mounted image. The open descriptors keep device and file what they are."""

    device: LoopDevice
    image_fd: int
    kind: FileSystem
    tree: MountedTree

    def close(self) -> None:
        """Let go; once it is unmounted, the kernel unbinds the device."""
        os.close(self.image_fd)
        self.device.close()


def attach(path: Path, mount_point: Path, devices: LoopDevices) -> Attachment:
    """Mount the image `path` and prepare what is in it; undo what was done if that fails."""
    checked = image.check(path)
    facts, kind = checked.facts, checked.kind
    image.require_room(path)
    with contextlib.ExitStack() as undo:
        device = devices.take(path, facts)
        undo.callback(device.close)
        image_fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        undo.callback(os.close, image_fd)
        device.reread_size()
        _mount(path, kind, device, mount_point)
        undo.callback(_unmount_quietly, mount_point)
        tree = _prepare(path, kind, device, mount_point, image_bytes=facts.st_size)
        undo.pop_all()
    return Attachment(device, image_fd, kind, tree)


def aligned(size_bytes: int) -> int:
    """Return the largest size that a file system can have and is not above."""
    return size_bytes - size_bytes % 4096


def _mount(path: Path, kind: FileSystem, device: LoopDevice, mount_point: Path) -> None:
    mount_point.mkdir(mode=0o700, exist_ok=True)
    if mount_point.is_mount():
        if not kind.is_on(mount_point, device.number):
            raise ImageInUseError(f"something else is mounted at {mount_point}")
        if not os.statvfs(mount_point).f_flag & os.ST_RDONLY:
            return
        _unmount_quietly(mount_point)  # stopped after an error; mounted anew, it may go on
    try:
        syscalls.mount(str(device.node), str(mount_point), kind.name, _FLAGS, kind.mount_options)
    except OSError as error:
        raise _mount_error(error, path, kind) from error


def _prepare(
    path: Path, kind: FileSystem, device: LoopDevice, mount_point: Path, *, image_bytes: int
) -> MountedTree:
    """Finish what was interrupted, make the folders, drop what is left of captures."""
    try:
        tree = kind.tree(mount_point, device.number)
        active = mount_point / ACTIVE
        tree.prepare(image_bytes=image_bytes, active=active, snapshots=mount_point / SNAPSHOTS)
        for folder in (active / "upper", active / "work"):
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                folder.chmod(0o755)  # upper is the session's `/`, whatever the umask
    except OSError as error:
        if error.errno in _DAMAGE:
            raise ImageCorruptError(
                f"the volume's image {path} is damaged ({error.strerror}); {image.LEFT_AS_IT_IS}"
            ) from error
        raise image.translated(error, "the volume can't be prepared") from error
    return tree


def _unmount_quietly(mount_point: Path) -> None:
    with contextlib.suppress(OSError):
        syscalls.unmount(str(mount_point))


def _mount_error(error: OSError, path: Path, kind: FileSystem) -> VolumeError:
    match error.errno:
        case errno.ENODEV:
            return KernelLacksError(
                f"the kernel has no {kind.name}, of which the volume's image {path} is: load its "
                "module on the host"
            )
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
