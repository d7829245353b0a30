"""Finds facts that a look tells: files of the kernel, devices opened, programs looked for.

Nothing is made and nothing is started. It takes a few milliseconds, except where the kernel has to
load a module first, which the session would have to wait for as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.preflight.calls import try_calls
from agent.preflight.facts import Facts, Place
from agent.preflight.place import mount_at, separate_folders
from agent.preflight.surroundings import MARKERS, surroundings
from agent.root import mountinfo
from agent.root.cgroup_layout import CONTROLLERS, hierarchies
from agent.volume import image, syscalls
from agent.volume.kinds import BTRFS, PREFERRED
from agent.volume.loop_volume import IMAGE_NAME
from agent.volume.volume import VolumeError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from agent.preflight.facts import Image
    from agent.root.mountinfo import Mount

PROGRAMS = (*(f"mkfs.{kind.name}" for kind in PREFERRED), "slirp4netns", "setpriv")
PROGRAM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where the agent looks for them, whatever its own PATH."""
_SECCOMP_LIBRARY = "libseccomp.so.2"
_NAMESPACES = ("mnt", "pid", "ipc", "uts", "net", "cgroup")
_USER_NAMESPACE = 0xEFFFFFFD  # the machine's: linux/proc_ns.h
_FREE_DEVICE = 0x4C82  # LOOP_CTL_GET_FREE
_MASKED = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sys", "/sys")
_TRIAL_CGROUP = "studios-check"


def survey(state_dir: Path, root: Image, carried: Collection[str], initial_bytes: int) -> Facts:
    """Look at what an agent needs before each session. Blocks for a few milliseconds."""
    mounts = mountinfo.parse(_text("/proc/self/mountinfo"))
    status = _status()
    system = os.uname()
    loop_control, loop_node = _loop_devices()
    place = _place(state_dir, mounts, initial_bytes)
    programs = frozenset(name for name in PROGRAMS if shutil.which(name, path=PROGRAM_PATH))
    return Facts(
        surroundings=surroundings(
            {kind: _namespace(kind) for kind in _NAMESPACES},
            [path for path in MARKERS if os.path.exists(path)],
            mounts,
        ),
        image=root,
        machine=system.machine,
        kernel=system.release,
        user_id=os.geteuid(),
        in_user_namespace=_namespace("user") not in {0, _USER_NAMESPACE},
        capabilities=_capabilities(status),
        filtered=status.get("Seccomp", "0") != "0",
        confined_by=_confined_by(),
        masked=_is_masked(mounts),
        calls=try_calls(),
        file_systems=_file_systems(programs, place.volume_kind),
        namespaces={kind: _namespaces_max(kind) for kind in _NAMESPACES if _namespace(kind)},
        loop_control=loop_control,
        loop_node=loop_node,
        tunnel_device=_opening("/dev/net/tun"),
        programs=programs,
        has_seccomp_library=_has_seccomp_library(),
        place=place,
        separate=_separate(mounts, [*carried, str(state_dir)]) if root == "host" else (),
    )


def with_limits(facts: Facts) -> Facts:
    """Add what only a thorough look asks: sessions report it of themselves.

    Makes an empty cgroup in each hierarchy and removes it.
    """
    return replace(facts, limits=_limits(), kernel_log=_opening("/dev/kmsg", os.O_RDONLY))


# ── The agent itself ─────────────────────────────────────────────────────────


def _status() -> dict[str, str]:
    lines = _text("/proc/self/status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _capabilities(status: dict[str, str]) -> frozenset[int]:
    """Return what the agent may do now and may give to programs that it starts."""
    both = int(status.get("CapEff", "0"), 16) & int(status.get("CapBnd", "0"), 16)
    return frozenset(number for number in range(both.bit_length()) if both >> number & 1)


def _namespace(kind: str) -> int:
    """Return which one this process is in; 0 if the kernel has no such kind."""
    try:
        return os.stat(f"/proc/self/ns/{kind}").st_ino
    except OSError:
        return 0


def _confined_by() -> str:
    """Return the enforced profile of AppArmor or the domain of SELinux; empty if there is none."""
    label = _text("/proc/self/attr/current").strip("\0\n ")
    if label.startswith("unconfined") or label.endswith("(complain)"):
        return ""
    if label.count(":") >= _SELINUX_PARTS - 1:
        enforces = _text("/sys/fs/selinux/enforce").strip() == "1"
        free = any(part in label for part in (":unconfined_", ":spc_t:", ":kernel_t:"))
        return label if enforces and not free else ""
    return label.removesuffix(" (enforce)")


_SELINUX_PARTS = 3  # user:role:type, then perhaps a level


def _is_masked(mounts: Sequence[Mount]) -> bool:
    read_only = {mount.point for mount in mounts if "ro" in mount.options}
    covered = {mount.point for mount in mounts if mount.kind != "proc"}
    return bool({"/proc/sys", "/sys"} & read_only or covered.intersection(_MASKED[:3]))


# ── Kernel, devices, programs ────────────────────────────────────────────────


def _file_systems(programs: Collection[str], own: str) -> dict[str, int]:
    """Ask the kernel for no more than volumes may take: asking loads modules."""
    found = {kind: syscalls.try_file_system(kind) for kind in ("overlay", BTRFS.name)}
    if found[BTRFS.name] or f"mkfs.{BTRFS.name}" not in programs:
        found |= {kind.name: syscalls.try_file_system(kind.name) for kind in PREFERRED[1:]}
    if own and own not in found:
        found[own] = syscalls.try_file_system(own)
    return found


def _namespaces_max(kind: str) -> int:
    text = _text(f"/proc/sys/user/max_{kind}_namespaces").strip()
    return int(text) if text.isdigit() else 1  # older kernels don't limit them


def _loop_devices() -> tuple[int, int]:
    """Return the errors of opening the control device and a node."""
    try:
        fd = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return error.errno or errno.EIO, 0
    try:
        number = syscalls.ioctl_number(fd, _FREE_DEVICE)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.ENOMEM}:
            return 0, 0  # none is free: that may pass, and the volume has the words for it
        return error.errno or errno.EIO, 0
    finally:
        os.close(fd)
    node = _opening(f"/dev/loop{number}")
    return 0, node if node in {errno.EPERM, errno.EACCES} else 0


def _opening(path: str, flags: int = os.O_RDWR) -> int:
    try:
        os.close(os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _has_seccomp_library() -> bool:
    try:
        ctypes.CDLL(_SECCOMP_LIBRARY)
    except OSError:
        return False
    return True


# ── Places and limits ────────────────────────────────────────────────────────


def _place(state_dir: Path, mounts: Sequence[Mount], initial_bytes: int) -> Place:
    path = state_dir.resolve()
    own = path / IMAGE_NAME
    has_volume, volume_kind = own.exists(), ""
    with contextlib.suppress(VolumeError):
        volume_kind = image.check(own).kind.name  # of one that is damaged, attaching tells
    while not path.exists():
        path = path.parent
    room = os.statvfs(path)
    mount = mount_at(str(path), mounts)
    return Place(
        path=str(path),
        kind="" if mount is None else mount.kind,
        free_bytes=room.f_bavail * room.f_frsize,
        has_volume=has_volume,
        volume_kind=volume_kind,
        initial_bytes=initial_bytes,
    )


def _separate(mounts: Sequence[Mount], known: Collection[str]) -> tuple[str, ...]:
    """Leave out single files: beneath them sessions see what the image has there."""
    return tuple(path for path in separate_folders(mounts, known) if os.path.isdir(path))


def _limits() -> dict[str, str]:
    mounts = mountinfo.parse(_text("/proc/self/mountinfo"))
    found = hierarchies(
        mounts, _text("/proc/self/cgroup"), lambda folder: _text(f"{folder}/cgroup.controllers")
    )
    limits: dict[str, str] = {name: f"there is no cgroup controller {name}" for name in CONTROLLERS}
    for hierarchy in found:
        problem = _cgroup_problem(Path(hierarchy.folder))
        limits |= dict.fromkeys(hierarchy.controllers, problem)
    return limits


def _cgroup_problem(folder: Path) -> str:
    trial = folder / f"{_TRIAL_CGROUP}-{os.getpid()}"
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError as error:
        return f"no cgroup can be made in {folder}: {error.strerror}"
    return ""


def _text(path: str) -> str:
    """Return a small file's text; empty if it can't be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
