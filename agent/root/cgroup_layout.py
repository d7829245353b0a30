"""Where a session's cgroups go: which hierarchies there are, and which files set the limits. Pure.

Hosts have one hierarchy for everything (version 2), one for each controller (version 1), or both
(hybrid). The session's folder always lies below the agent's own: limits that were put on the agent
from outside hold for the session too. In version 2 a folder that has limited children can hold no
processes, so there the agent moves into a folder of its own beside the session's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from agent.root.paths import is_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.root.mountinfo import Mount
    from agent.root.plan import Limits

Controller = Literal["cpu", "memory", "pids", "cpuacct"]
CONTROLLERS: tuple[Controller, ...] = ("cpu", "memory", "pids", "cpuacct")
"""The last limits nothing: it is version 1's account of processor time, often in a tree of its own.
Version 2 keeps that account everywhere."""
SOCKET_BUFFER_BYTES_MAX = 512 * 1024**2
PERIOD_MICROSECONDS = 100_000  # the kernel's own
_QUOTA_MICROSECONDS_MIN = 1_000  # the kernel refuses less
_CGROUP_FIELDS = 3


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One tree of cgroups that has at least one of our controllers."""

    version: Literal[1, 2]
    folder: str
    """The agent's own cgroup in it."""
    controllers: tuple[Controller, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """A file of a cgroup and what to write there."""

    file: str
    value: str
    required: bool = True
    """Whether every kernel with the controller has the file."""


def hierarchies(
    mounts: tuple[Mount, ...], own_cgroups: str, controllers_in: Callable[[str], str]
) -> tuple[Hierarchy, ...]:
    """Return where our controllers are.

    `own_cgroups` is /proc/self/cgroup; `controllers_in` reads the file cgroup.controllers of a
    version 2 folder.
    """
    paths = _own_paths(own_cgroups)
    found: list[Hierarchy] = []
    taken: set[Controller] = set()
    for mount in mounts:
        hierarchy = _hierarchy(mount, paths, controllers_in)
        if hierarchy is None:
            continue
        here = tuple(name for name in hierarchy.controllers if name not in taken)
        if here:
            taken.update(here)
            found.append(Hierarchy(hierarchy.version, hierarchy.folder, here))
    return tuple(found)


def _hierarchy(
    mount: Mount, paths: dict[str, str], controllers_in: Callable[[str], str]
) -> Hierarchy | None:
    if mount.kind == "cgroup":
        names = mount.super_options
        key: str = next((name for name in CONTROLLERS if name in names), "none of ours")
    elif mount.kind == "cgroup2":
        names = frozenset()
        key = ""
    else:
        return None
    if key not in paths or not is_within(paths[key], mount.root):
        return None
    below = paths[key].removeprefix(mount.root).strip("/")
    folder = f"{mount.point}/{below}".rstrip("/")
    if mount.kind == "cgroup2":
        names = frozenset(controllers_in(folder).split())
    version: Literal[1, 2] = 1 if mount.kind == "cgroup" else 2
    return Hierarchy(version, folder, tuple(name for name in CONTROLLERS if name in names))


def _own_paths(text: str) -> dict[str, str]:
    """Parse /proc/self/cgroup: controller to path; the empty name is version 2's."""
    paths: dict[str, str] = {}
    for line in text.splitlines():
        fields = line.split(":", _CGROUP_FIELDS - 1)
        if len(fields) == _CGROUP_FIELDS:
            for name in fields[1].split(","):
                paths[name] = fields[2]
    return paths


def settings(hierarchy: Hierarchy, limits: Limits) -> tuple[Setting, ...]:
    """Return what to write into the session's folder of this hierarchy."""
    chosen: list[Setting] = []
    if "pids" in hierarchy.controllers:
        chosen.append(Setting("pids.max", str(limits.processes)))
    if "memory" in hierarchy.controllers and limits.memory_bytes is not None:
        name = "memory.max" if hierarchy.version == 2 else "memory.limit_in_bytes"
        chosen.append(Setting(name, str(limits.memory_bytes)))
        if hierarchy.version == 1:
            chosen.append(_socket_buffers(limits.memory_bytes))
    if "cpu" in hierarchy.controllers and limits.cpus is not None:
        quota = max(_QUOTA_MICROSECONDS_MIN, math.ceil(limits.cpus * PERIOD_MICROSECONDS))
        if hierarchy.version == 1:
            chosen.append(Setting("cpu.cfs_period_us", str(PERIOD_MICROSECONDS)))
            chosen.append(Setting("cpu.cfs_quota_us", str(quota)))
        else:
            chosen.append(Setting("cpu.max", f"{quota} {PERIOD_MICROSECONDS}"))
    return tuple(chosen)


def _socket_buffers(memory_bytes: int) -> Setting:
    """Return the limit for TCP's buffers, which version 1 counts apart from all other memory.

    A quarter, and no more than is of use: the kernel has one limit for the whole machine besides.
    """
    most = min(memory_bytes // 4, SOCKET_BUFFER_BYTES_MAX)
    return Setting("memory.kmem.tcp.limit_in_bytes", str(most), required=False)


def missing(found: tuple[Hierarchy, ...], limits: Limits) -> tuple[str, ...]:
    """Return sentences about limits that can't be kept here."""
    there = {name for hierarchy in found for name in hierarchy.controllers}
    wanted: dict[Controller, bool] = {
        "cpu": limits.cpus is not None,
        "memory": limits.memory_bytes is not None,
        "pids": True,
        "cpuacct": False,
    }
    return tuple(
        f"This machine has no cgroup controller {name}: the session's limit can't be kept."
        for name in CONTROLLERS
        if wanted[name] and name not in there
    )
