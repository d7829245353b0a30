"""Finds processes again, and what they have started, by a variable in their environment.

In whatever group, session or part of the process tree they hide. One that was found is known until
it has ended: the kernel takes its environment away first, and its ports later.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Collection

_NAME = "STUDIOS_TEST_GROUND"


class Marked:
    """Processes that were started with `variable`."""

    def __init__(self) -> None:
        self.variable = {_NAME: secrets.token_hex(8)}
        self._mark = "=".join(*self.variable.items()).encode()
        self._found: set[psutil.Process] = set()

    def living(self, own: Collection[int]) -> list[int]:
        """Return the pids of all that live, mostly oldest first; `own` do, whatever they show.

        A shell that is told to end before what it waits for ends in its own way.
        """
        for pid in psutil.pids():
            if pid in own or self._has(pid):
                with suppress(psutil.NoSuchProcess):
                    self._found.add(psutil.Process(pid))
        self._found = {process for process in self._found if _lives(process)}
        return sorted(process.pid for process in self._found)

    def _has(self, pid: int) -> bool:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                return self._mark in file.read().split(b"\0")
        except OSError:  # it has ended
            return False


def _lives(process: psutil.Process) -> bool:
    """Tell if a process holds anything yet: one that waits to be reaped doesn't."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
