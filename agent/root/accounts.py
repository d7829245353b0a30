"""What the kernel's accounts of a session's cgroups say: use, and how often a limit was hit. Pure.

Each function gets one hierarchy of the session's and what reads a file of the session's folder in
it (empty if there is no such file), and answers None where that hierarchy doesn't keep the account.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.root.cgroup_layout import Controller, Hierarchy

Read = Callable[[str], str]

_NANOSECONDS = 1_000_000_000
_MICROSECONDS = 1_000_000


def cpu_seconds(hierarchy: Hierarchy, read: Read) -> float | None:
    """Return the processor time of all programs since the folder was made, ended ones included.

    Version 2 keeps this account in every folder, whether or not its controller is switched on.
    """
    if hierarchy.version == 2:
        microseconds = _entry(read("cpu.stat"), "usage_usec")
        return None if microseconds is None else microseconds / _MICROSECONDS
    nanoseconds = _only(read("cpuacct.usage")) if "cpuacct" in hierarchy.controllers else None
    return None if nanoseconds is None else nanoseconds / _NANOSECONDS


def memory_bytes(hierarchy: Hierarchy, read: Read) -> int | None:
    """Return the memory that programs hold: their own and the files they have mapped.

    Not the page cache, which fills up to the limit in every session that reads files, and which the
    kernel gives away when asked: nobody is near a memory kill because of it.
    """
    if "memory" not in hierarchy.controllers:
        return None
    names = (
        ("anon", "file_mapped") if hierarchy.version == 2 else ("total_rss", "total_mapped_file")
    )
    text = read("memory.stat")
    parts = [_entry(text, name) for name in names]
    return None if None in parts else sum(part for part in parts if part is not None)


def processes(hierarchy: Hierarchy, read: Read) -> int | None:
    """Return how many processes and threads there are, counted as the limit counts them."""
    return _only(read("pids.current")) if "pids" in hierarchy.controllers else None


def process_limit_hits(hierarchy: Hierarchy, read: Read) -> int | None:
    """Return how often no process or thread could be started because of the limit."""
    return _events(hierarchy, "pids", read, "pids.events", "max")


def memory_kills(hierarchy: Hierarchy, read: Read) -> int | None:
    """Return how often the kernel ended a process for want of memory."""
    name = "memory.oom_control" if hierarchy.version == 1 else "memory.events"
    return _events(hierarchy, "memory", read, name, "oom_kill")


def _events(
    hierarchy: Hierarchy, controller: Controller, read: Read, name: str, event: str
) -> int | None:
    return _entry(read(name), event) if controller in hierarchy.controllers else None


def _entry(text: str, wanted: str) -> int | None:
    """Return a number of a file with a key and a number in each line."""
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == wanted:
            return int(value)
    return None


def _only(text: str) -> int | None:
    return int(text) if text else None
