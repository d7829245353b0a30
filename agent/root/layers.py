"""Mounts a session's root where only the agent and the session see it.

The agent lives in a mount namespace of its own. What is unmounted on the machine is so there, too:
no agent keeps somebody's disk from being pulled. Nothing goes the other way. Only the session's
root is shared, and the session's copy of it follows (slave): a data link that the agent
mounts below it while the session runs appears inside, and nothing appears on the host. With the
agent's last process the namespace and all these mounts are gone, however it ended.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from agent.root import kernel
from agent.root.hidden import MaskEntry, MergedFolder, OpaqueFolder, PlacedFile, Whiteout

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from agent.root.facts import Attributes
    from agent.root.plan import RootPlan

_OPAQUE = "trusted.overlay.opaque"
_SCRATCH_BYTES = "1m"
"""For the mask layer and the files in /etc that are bound into the session, which it may write."""


def enter_own_mounts() -> None:
    """Give this process a mount namespace of its own; to be called before it has threads."""
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.set_propagation("/", kernel.MS_REC | kernel.MS_SLAVE)


@dataclass(frozen=True, slots=True)
class MountedRoot:
    """Where things are in the agent's mount namespace."""

    folder: Path
    """A small file system of this run's own."""
    root: Path
    """The session's root, a shared mount."""
    own_files: tuple[tuple[str, str], ...]
    """Pairs: the file, and where the session sees it."""


def mount_root(plan: RootPlan, folder: Path) -> MountedRoot:
    """Mount the session's root below `folder`, or leave nothing mounted and raise OSError.

    May take as long as the slowest lower layer.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = kernel.MS_NODEV | kernel.MS_NOSUID | kernel.MS_NOEXEC
    kernel.mount("studios-root", str(folder), "tmpfs", flags, f"mode=700,size={_SCRATCH_BYTES}")
    try:
        mask = folder / "mask"
        mask.mkdir()
        make_mask(mask, plan.mask)
        root = folder / "root"
        root.mkdir()
        kernel.mount(
            "studios-root",
            str(root),
            "overlay",
            kernel.MS_NODEV | kernel.MS_NOATIME,
            plan.overlay.data(str(mask) if plan.mask else None),
        )
        kernel.set_propagation(str(root), kernel.MS_SHARED)
        own = _write_own_files(plan, folder / "files")
        given = _bind_given(plan, folder / "given")
        return MountedRoot(folder, root, (*own, *given))
    except BaseException:
        kernel.unmount(str(folder), kernel.MNT_DETACH)
        raise


def make_mask(folder: Path, entries: Iterable[MaskEntry]) -> None:
    """Make the mask layer in an empty folder. Raise OSError."""
    for entry in entries:
        _make(folder, entry)


def unmount_root(mounted: MountedRoot) -> None:
    """Unmount what `mount_root` did, also what was mounted in it since. Idempotent.

    Detached, because a process may still stand in it; it is gone as soon as nothing uses it.
    """
    if os.path.ismount(mounted.folder):
        kernel.unmount(str(mounted.folder), kernel.MNT_DETACH)


def _make(layer: Path, entry: MaskEntry) -> None:
    path = layer / entry.path.removeprefix("/")
    match entry:
        case MergedFolder(_, attributes):
            path.mkdir()
            _apply(path, attributes)
        case OpaqueFolder(_, attributes):
            path.mkdir()
            os.setxattr(path, _OPAQUE, b"y")
            _apply(path, attributes)
        case Whiteout():
            os.mknod(path, 0o600 | 0o020000, os.makedev(0, 0))
        case PlacedFile(_, text, attributes):
            path.write_text(text, encoding="utf-8", errors="surrogateescape")
            _apply(path, attributes)
        case _:
            assert_never(entry)


def _apply(path: Path, attributes: Attributes) -> None:
    os.chown(path, attributes.user_id, attributes.group_id)
    path.chmod(attributes.mode)


def _write_own_files(plan: RootPlan, folder: Path) -> tuple[tuple[str, str], ...]:
    folder.mkdir()
    pairs: list[tuple[str, str]] = []
    for number, file in enumerate(plan.own_files):
        path = folder / str(number)
        path.write_text(file.text, encoding="utf-8", errors="surrogateescape")
        path.chmod(0o644)
        pairs.append((str(path), file.path))
    return tuple(pairs)


def _bind_given(plan: RootPlan, folder: Path) -> tuple[tuple[str, str], ...]:
    """Bind them read-only: who owns them and who may use them is not the session's to change.

    One can still connect to a socket on a read-only mount.
    """
    folder.mkdir()
    pairs: list[tuple[str, str]] = []
    for number, (source, target) in enumerate(plan.given):
        path = folder / str(number)
        path.touch()
        fd = kernel.clone_mount(source, recursive=False)
        try:
            kernel.set_mount_attributes(fd, attributes=kernel.MOUNT_ATTR_RDONLY, recursive=False)
            kernel.attach_mount(fd, str(path))
        finally:
            os.close(fd)
        pairs.append((str(path), target))
    return tuple(pairs)
