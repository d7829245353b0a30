"""The note of a session's first process, in the folder that outlives the agent.

The kernel ends that process, and with it everything in the session, when the agent ends; that takes
a moment. Whoever must know that nothing of a session is left (the engine) looks at this note: a pid
with its start time is never used twice.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from agent.proctable import read_process
from common.wire import encode

if TYPE_CHECKING:
    from pathlib import Path


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The file `session.pid`."""

    pid: int
    start_ticks: int
    cgroups: tuple[str, ...] = ()
    """Folders that a killed agent leaves behind, empty."""


def write_record(path: Path, pid: int, cgroups: tuple[str, ...] = ()) -> None:
    """Replace the note; a process that has ended already leaves none."""
    facts = read_process(pid)
    if facts is None:
        return
    new = path.with_name(path.name + ".new")
    new.write_bytes(encode(SessionRecord(pid=pid, start_ticks=facts.start_ticks, cgroups=cgroups)))
    os.replace(new, path)


def remove_record(path: Path) -> None:
    path.unlink(missing_ok=True)
