"""The kernel's table of processes: read from /proc, questions about it answered purely.

psutil doesn't know sessions, which is what tells the tool's processes from the agent's helpers;
and one small file per process is all that these questions need.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ENVIRONMENT_BYTES_MAX = 4 * 1024 * 1024  # more than any kernel default lets a process have


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """One line of the table."""

    pid: int
    parent: int
    session: int
    start_ticks: int
    """When it started, in clock ticks since boot: with the pid, a name that is never used twice."""
    zombie: bool


Table = dict[int, ProcessFacts]


def parse_stat(text: str) -> ProcessFacts:
    """Parse /proc/<pid>/stat; see proc_pid_stat(5). The command's name may hold anything."""
    pid = int(text[: text.index(" ")])
    fields = text[text.rindex(")") + 2 :].split()
    return ProcessFacts(
        pid=pid,
        zombie=fields[0] in {"Z", "X"},
        parent=int(fields[1]),
        session=int(fields[3]),
        start_ticks=int(fields[19]),
    )


def read_process(pid: int) -> ProcessFacts | None:
    """Return one process's facts, or None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return parse_stat(file.read())
    except (FileNotFoundError, ProcessLookupError):
        return None


def read_table() -> Table:
    """Read all processes; those that end meanwhile may be missing."""
    found = (read_process(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {facts.pid: facts for facts in found if facts is not None}


def read_environment(pid: int) -> bytes:
    """Return the environment a process started with, NUL-separated; empty if it can't be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read(ENVIRONMENT_BYTES_MAX)
    except OSError:
        return b""


def descendants(table: Mapping[int, ProcessFacts], roots: Iterable[int]) -> set[int]:
    """Return the processes below `roots`, at any depth, without the roots."""
    children: dict[int, list[int]] = {}
    for facts in table.values():
        children.setdefault(facts.parent, []).append(facts.pid)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        new = [pid for pid in children.get(waiting.pop(), ()) if pid not in found]
        found.update(new)
        waiting.extend(new)
    return found
