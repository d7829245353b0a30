"""The kinds of file system that a volume can be, and which one a new volume becomes.

**btrfs** wherever the host has it: only that has snapshots, so only its volumes are saved as they
were at one instant, while programs write on. **XFS** and **ext4** are for hosts without. They hold
the session's files as well, and grow as well; but saving them reads live files.

XFS comes before ext4: it has as many names as there is room for, extended attributes of any size,
and grows without CAP_SYS_RESOURCE. Either can be made only with its program, which hosts with such
disks mostly have. An image stays of its kind for as long as there is one.
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from agent.volume import btrfs_calls, plain_tree, superblock, syscalls
from agent.volume.file_system import FileSystem
from agent.volume.volume import KernelLacksError, ToolMissingError, VolumeError

if TYPE_CHECKING:
    from collections.abc import Sequence

MKFS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BTRFS_BEGINNING_BYTES_MAX = 640 * 1024**2
"""It begins with this size inside its image; attaching extends it. See
`btrfs_calls.Tree.widen_metadata`: a tenth of it becomes the room for metadata."""
BYTES_PER_FILE = 8192
"""Of ext4, which has room for so many files and no more: a tree of packages for Node, of the
smallest files that there are, has about that on average. It grows when it runs short of them, and
each costs 256 bytes."""

CAP_SYS_RESOURCE = 24  # linux/capability.h


def _ext4_journal_megabytes(size_bytes: int) -> int:
    """Return a tenth at most: by itself it would take up to a gigabyte of a large volume."""
    return 64 if size_bytes >= 1024**3 else 16


BTRFS = FileSystem(
    name="btrfs",
    package="btrfs-progs",
    # Deleted data goes back to the host. Every eighth piece of space taken for data brings one for
    # metadata, so that a volume full of data has room for names: 1 GB at 30.
    mount_options="discard=async,metadata_ratio=8",
    size_bytes_min=109 * 1024**2,
    takes_snapshots=True,
    shrinks=True,
    # Metadata once: a copy on the same file would guard against nothing, and costs a tenth.
    arguments=lambda size_bytes: (
        *("--quiet", "--data", "single", "--metadata", "single"),
        *("--byte-count", str(min(size_bytes, BTRFS_BEGINNING_BYTES_MAX))),
    ),
    size_in=superblock.btrfs_bytes,
    is_on=lambda mount_point, number: btrfs_calls.is_on(mount_point, f"loop{number}"),
    tree=lambda mount_point, _: btrfs_calls.Tree(mount_point),
)
XFS = FileSystem(
    name="xfs",
    package="xfsprogs",
    # A copy of an image has the original's id, and may be looked into beside it.
    mount_options="discard,nouuid",
    size_bytes_min=300 * 1024**2,
    takes_snapshots=False,
    shrinks=False,
    # Two groups, as few as there can be: it grows by groups of the same size, some dozens of them.
    # Sectors as the loop devices have them. As many names as there is room for.
    arguments=lambda _: (
        *("-q", "-s", "size=4096", "-d", "agcount=2", "-i", "maxpct=0", "-n", "ftype=1"),
    ),
    size_in=superblock.xfs_bytes,
    is_on=plain_tree.is_on,
    tree=plain_tree.XfsTree,
)
EXT4 = FileSystem(
    name="ext4",
    package="e2fsprogs",
    # `df` shows the size that it has. New parts of the image are holes, so need no zeros. Data that
    # can't be written stops it, as it does the others.
    mount_options="discard,minixdf,noinit_itable,errors=remount-ro,data_err=abort",
    size_bytes_min=64 * 1024**2,
    takes_snapshots=False,
    shrinks=False,
    growth_capability=CAP_SYS_RESOURCE,
    # Nothing is reserved for the machine's root, whom a session's root is as well. A new image is
    # all holes: neither inodes nor the journal need zeros.
    arguments=lambda size_bytes: (
        *("-q", "-F", "-t", "ext4", "-T", "default", "-b", "4096", "-m", "0"),
        *("-i", str(BYTES_PER_FILE), "-O", "64bit,metadata_csum"),
        *("-E", "lazy_journal_init=1", "-J", f"size={_ext4_journal_megabytes(size_bytes)}"),
    ),
    size_in=superblock.ext4_bytes,
    is_on=plain_tree.is_on,
    tree=plain_tree.Ext4Tree,
)

PREFERRED = (BTRFS, XFS, EXT4)
IN_IMAGES = (XFS, EXT4, BTRFS)
"""In the order in which an image is to be asked; see `superblock`."""


def mkfs_of(kind: FileSystem) -> str | None:
    """Return the program that makes one; None if it is not installed."""
    return shutil.which(f"mkfs.{kind.name}", path=MKFS_PATH)


def problem_with(kind: FileSystem) -> VolumeError | None:
    """Return why no new volume of this kind can be made on this host; None if one can."""
    if syscalls.try_file_system(kind.name) == errno.ENODEV:
        return KernelLacksError(f"the kernel has no {kind.name}: load its module on the host")
    if mkfs_of(kind) is None:
        program = f"mkfs.{kind.name}"
        return ToolMissingError(f"{program} is missing: install the package {kind.package}")
    return None


def grows(kind: FileSystem) -> bool:
    """Say whether this process may make one larger that is mounted.

    Container engines don't give CAP_SYS_RESOURCE by themselves. Where ext4 is all that there is,
    and the agent has it not, a volume is as large at once as it could become.
    """
    if kind.growth_capability is None:
        return True
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    held = next(line.split()[1] for line in lines if line.startswith("CapEff:"))
    return bool(int(held, 16) >> kind.growth_capability & 1)


def choose(size_bytes: int, kinds: Sequence[FileSystem] = PREFERRED) -> FileSystem:
    """Return the first of the kinds that a volume of that size can be here.

    Raises KernelLacksError or ToolMissingError: what is wrong with the first of them.
    """
    problems = []
    for kind in kinds:
        if size_bytes < kind.size_bytes_min and kind is not kinds[-1]:
            continue
        problem = problem_with(kind)
        if problem is None:
            return kind
        problems.append(problem)
    raise problems[0]


def weakness_of(kind: FileSystem) -> str:
    """Say what a volume of this kind promises less than others, and why it is one; empty if none.

    A sentence for whoever uses the session.
    """
    if kind.takes_snapshots:
        return ""
    less = (
        "files that are being written or moved while they are saved may be saved half-way, or not "
        "at all; what is saved at the end is whole"
    )
    problem = problem_with(BTRFS)
    if isinstance(problem, KernelLacksError):
        why = "This machine's kernel has no btrfs"
        remedy = "have its module loaded (modprobe btrfs), then stop"
    elif problem is not None:
        why = "This machine can't make btrfs"
        remedy = f"have {BTRFS.package} installed there, then stop"
    else:
        why = f"This session's volume was made of {kind.name}"
        remedy = "stop"
    return (
        f"{why}: {less}. To have all of it saved as it is at one instant, {remedy} the Studio and "
        "start it again."
    )
