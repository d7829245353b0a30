"""What a volume asks of the file system in its image: of its kind, and of one that is mounted.

`kinds` has those that there are. What differs between them is here and nowhere else: the file, the
loop device, the mount, when to grow and how to let go are the same for all.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from agent.volume.volume import FileSystemStoppedError, NotPermittedError, VolumeError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.volume.volume import Space


class MountedTree(Protocol):
    """A mounted one, seen from its top folder. All calls block and may raise OSError."""

    def prepare(self, *, image_bytes: int, active: Path, snapshots: Path) -> None:
        """Finish what was interrupted: take all of the image, have `active`, drop snapshots."""
        ...

    def size_bytes(self) -> int:
        """Return its size, as exact as `resize` takes it. Raises FileSystemStoppedError."""
        ...

    def measure(self, *, host_free_bytes: int) -> Space:
        """See `Volume.measure`."""
        ...

    def resize(self, size_bytes: int) -> None:
        """Use that much of the device. Durable when it returns. Raises VolumeError."""
        ...

    def settle(self) -> None:
        """See `Volume.settle`."""
        ...

    def sync(self) -> None:
        """Write all that programs have written."""
        ...

    def snapshot(self, source: Path, path: Path) -> None:
        """Make `path` a read-only copy of `source`; never asked of a kind that takes none."""
        ...

    def drop_snapshot(self, path: Path) -> None:
        """Remove a snapshot; does nothing if there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystem:
    """One kind."""

    name: str
    """As the kernel has it; `mkfs.<name>` makes one."""
    package: str
    """Where that program comes from."""
    mount_options: str
    size_bytes_min: int
    """Of less, none is made."""
    takes_snapshots: bool
    shrinks: bool
    growth_capability: int | None = None
    """Which one the kernel asks for beside CAP_SYS_ADMIN, to make it larger."""
    arguments: Callable[[int], tuple[str, ...]]
    """Of mkfs, to fill an image of this size; the image's path comes after them."""
    size_in: Callable[[bytes], int | None]
    """Return how large the one is that begins with these bytes; None if none of this kind does."""
    is_on: Callable[[Path, int], bool]
    """Say whether one on the loop device of this number is mounted at the folder."""
    tree: Callable[[Path, int], MountedTree]
    """Return the one that is mounted at the folder, on the loop device of this number."""


def refuse_stopped(facts: os.statvfs_result) -> None:
    """Raise FileSystemStoppedError if nothing can be written any more."""
    if facts.f_flag & os.ST_RDONLY:
        raise stopped()


def stopped() -> FileSystemStoppedError:
    return FileSystemStoppedError(
        "the kernel has stopped the volume's file system after an error, as when the host's "
        "disk is full or broken: nothing can be written any more, and what was written in the "
        "last half minute may be lost; see to the host's disk, then stop and start the Studio"
    )


def resize_error(error: OSError) -> VolumeError:
    """Return what it means that the size can't change, of whatever kind."""
    if error.errno in {errno.EROFS, errno.EIO}:
        return FileSystemStoppedError("the kernel has stopped the volume's file system")
    if error.errno in {errno.EPERM, errno.EACCES}:
        return NotPermittedError(
            "the volume can't grow any more: the agent needs CAP_SYS_RESOURCE for that where "
            "there is neither btrfs nor XFS"
        )
    return VolumeError(f"the volume's size can't be changed: {error.strerror}")
