"""**Start here.** What every volume promises, and how each of its calls may fail.

A volume is one file on the host, the *image*, that holds a file system of the session's own. Its
states are *absent*, *detached* (an image on the host's disk, nothing else) and *attached* (mounted
at a folder of this process's mount namespace). The image outlives every process.

Attaching gives these folders, and nothing of the session's lies anywhere else:

    <mount>/active/upper      what the session has changed
    <mount>/active/work       the overlay's own
    <mount>/snapshots/<name>  read-only copies of `active`, until dropped

**Snapshots** are what some file systems have and others have not. A volume says which it is, once
it is attached; the rest of the promises hold for both.

**What survives.** A kill of the process at any point of any call leaves an image that `attach`
accepts, with every byte that a program had written, whether or not it called fsync: the kernel
writes its cache when the last user of the mount is gone. A crash of the machine leaves what was
fsynced or older than half a minute. A damaged image is left as it is.

**One at a time.** An image has one `Volume` object on one host at a time (the session's
`agent.lock` sees to it). Calls of one object may overlap: those that change the volume's shape wait
for each other, `measure` and `snapshot` don't wait.

**Cancelling** a call waits until the kernel is done with it, and then cancels: nobody is left with
half an operation going on behind their back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Sizes in bytes, at one instant."""

    size_bytes: int
    """What `df` shows as the volume's size."""
    true_free_bytes: int
    """What can still be written before a program gets ENOSPC: the free space that the file system
    reports, less what programs have written and the kernel has not yet put in its place."""
    metadata_free_bytes: int
    """How much room is left for names, small files and checksums; none of it is ENOSPC, too."""
    host_free_bytes: int
    """What the host's disk has free: the image is sparse, so the volume's free space is a promise
    that only this makes good."""


class Volume(Protocol):
    """One session's file system. Every call may raise VolumeError or one of its kinds."""

    async def create(self) -> None:
        """Make the image, of the initial size. Does nothing if there is one, whatever is in it.

        The image appears whole or not at all. Raises BackingDiskFullError if the host's disk could
        not hold a volume of that size, filled.
        """
        ...

    async def attach(self) -> Path:
        """Mount the image and return the mount point. Does nothing if it is attached by this one.

        An image that a killed agent left attached, or mounted in some other namespace, is taken
        over with all that is in the kernel's cache: it is never attached twice. An interrupted
        growth is finished, snapshots of interrupted captures are dropped.

        Raises ImageMissingError, ImageTruncatedError, ImageCorruptError, ImageInUseError,
        NoLoopDeviceError, KernelLacksError or NotPermittedError; then nothing stays mounted or
        attached that was not before, and the image is as it was.
        """
        ...

    @property
    def takes_snapshots(self) -> bool:
        """Whether it can be read as it was at one instant. Raises NotAttachedError."""
        ...

    async def weakness(self) -> str:
        """Return a sentence for who uses the session: what is less safe than it could be, and why.

        Empty if nothing is.
        """
        ...

    async def snapshot(self, name: str) -> Path:
        """Return the folder of a read-only copy of `active`: all that was written before the call.

        A copy of that name must not exist: SnapshotExistsError. A snapshot keeps the space of what
        is deleted after it, so none may outlive its purpose. NoSnapshotsError where it takes none.
        """
        ...

    async def drop_snapshot(self, name: str) -> None:
        """Remove a snapshot; does nothing if there is none. Its space comes back in seconds."""
        ...

    async def true_free(self) -> int:
        """Return `true_free_bytes` of `measure`."""
        ...

    async def measure(self) -> Space:
        """Measure. Raises FileSystemStoppedError once the kernel has stopped the file system."""
        ...

    async def settle(self) -> None:
        """Have what was deleted so far count as free in a moment, and not only in half a minute."""
        ...

    async def grow(self, steps: int) -> int:
        """Add up to `steps` steps and return the size in bytes. Programs write on meanwhile.

        Never past the limit; at the limit it does nothing. As many whole steps are added as the
        host's disk could hold; none of them is BackingDiskFullError. A growth that failed has added
        nothing that a later one would add again: the new size is counted from the present one.
        """
        ...

    async def shrink(self) -> int:
        """Remove one step and return the size in bytes. Programs write on meanwhile.

        Never below the initial size: there it does nothing, nor where the file system can't.
        CannotResizeError means "not now": the end of the volume is in use, or less than the minimum
        would be free.
        """
        ...

    async def detach(self, *, patient: bool = True) -> None:
        """Write everything to the image and unmount it. Does nothing if it is not attached.

        With `patient` it gives the kernel time to end what still has it: some seconds. Without, it
        is known that this doesn't end.

        Afterwards nothing of the image is mounted or attached: it can be copied. Raises
        StillInUseError while programs hold files; the volume stays attached, all is written.
        """
        ...


class VolumeError(Exception):
    """A volume's call failed. The text is a sentence for people, without a full stop."""

    retry_helps = True
    """Whether the same call may succeed later without anybody's doing; of an unknown failure that
    is assumed, the kinds below know better."""


class BackingDiskFullError(VolumeError):
    """The host's disk can't hold as much as the volume would promise."""


class ImageMissingError(VolumeError):
    """There is no image to attach."""

    retry_helps = False


class ImageTruncatedError(VolumeError):
    """The image is shorter than the file system in it: something cut it off."""

    retry_helps = False


class ImageCorruptError(VolumeError):
    """What is in the image is not the file system that was there."""

    retry_helps = False


class ImageInUseError(VolumeError):
    """Somebody uses the image in a way that this agent can't share."""


class ImageAttachedOtherwiseError(ImageInUseError):
    """Somebody has attached it read-only or in part, and only they can end that."""

    retry_helps = False


class NoLoopDeviceError(VolumeError):
    """The host has no loop device to give."""


class KernelLacksError(VolumeError):
    """The kernel lacks the file system or loop devices, or the container does not show them."""

    retry_helps = False


class NotPermittedError(VolumeError):
    """The agent lacks a privilege; the sentence names the one that grants it."""

    retry_helps = False


class ToolMissingError(VolumeError):
    """A program of the system is not installed; the sentence names its package."""

    retry_helps = False


class NotAttachedError(VolumeError):
    """The call needs an attached volume."""

    retry_helps = False


class SnapshotExistsError(VolumeError):
    """There is a snapshot of that name."""

    retry_helps = False


class NoSnapshotsError(VolumeError):
    """The volume's file system has none."""

    retry_helps = False


class CannotResizeError(VolumeError):
    """Not now: the space is in use, or the file system is being rearranged."""


class StillInUseError(VolumeError):
    """Processes hold files of the volume open, or another namespace has it mounted."""


class FileSystemStoppedError(VolumeError):
    """The kernel has made the file system read-only after an error.

    That is what comes of a full disk of the host. What was fsynced or older than half a minute is
    in the image.
    """

    retry_helps = False
