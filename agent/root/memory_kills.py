"""Which processes the kernel ended for want of memory, by name: from its log, `/dev/kmsg`.

The cgroup only counts. The log has one line for each kill with the cgroup, the pid and the name:

    oom-kill:constraint=CONSTRAINT_MEMCG,…,oom_memcg=/x/studios-0123abcd,task_memcg=…,task=python3,pid=7
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_KILL = re.compile(
    r"oom-kill:.*?,task_memcg=(?P<cgroup>.*?),task=(?P<name>.*),pid=(?P<pid>\d+),uid="
)
_RECORD_BYTES_MAX = 8192  # the kernel's own limit
_LOG = "/dev/kmsg"


@dataclass(frozen=True, slots=True)
class MemoryKill:
    """One process that was ended. `pid` is the host's number."""

    name: str
    pid: int


def parse_record(record: str, cgroups: Iterable[str]) -> MemoryKill | None:
    """Return the kill that a record of the log tells of, if it was in one of `cgroups`.

    `cgroups` are ends of their names: a namespace may show the rest otherwise. The process's name
    was chosen by its user and may hold anything but a line's end.
    """
    match = _KILL.search(record)
    if match is None:
        return None
    names = [part for part in match["cgroup"].split("/") if part]
    wanted = {cgroup.strip("/") for cgroup in cgroups}
    if not wanted.intersection(names):
        return None
    return MemoryKill(match["name"], int(match["pid"]))


class KernelLog:
    """The kernel's log from now on. Nothing is ever read where it may not be."""

    def __init__(self) -> None:
        self._fd: int | None = None
        with contextlib.suppress(OSError):
            self._fd = os.open(_LOG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._fd, 0, os.SEEK_END)

    def kills(self, cgroups: Iterable[str]) -> list[MemoryKill]:
        """Return the kills in `cgroups` since the last call."""
        wanted = tuple(cgroups)
        found = (parse_record(record, wanted) for record in self._new_records())
        return [kill for kill in found if kill is not None]

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _new_records(self) -> list[str]:
        records: list[str] = []
        while self._fd is not None:
            try:
                records.append(os.read(self._fd, _RECORD_BYTES_MAX).decode(errors="replace"))
            except BlockingIOError:
                break
            except BrokenPipeError:
                continue  # records were overwritten before they were read; the next is there
            except OSError:
                self.close()
        return records
