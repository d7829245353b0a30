"""The first process of a session's pid namespace, with which everything in the session ends.

The agent notes it in `session.pid` once it has made the session's root, and removes the note when
the session is over. The kernel ends that process together with its agent; but the agent is seen
gone first, and what hangs in the kernel takes longer still.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

import msgspec

from common.wire import MalformedMessageError, decode
from control_plane.engines.one_process import runs, send_signal

if TYPE_CHECKING:
    from pathlib import Path

FILE = "session.pid"
CGROUPS = "/sys/fs/cgroup/"


class _Note(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pid: int
    start_ticks: int
    cgroups: tuple[str, ...] = ()


def end_first_process(folder: Path) -> bool:
    """Kill it if it lives; say whether it did. The caller knows that its agent is gone.

    Call again until it is False: what is killed takes a moment to go. The note must be of this
    boot.
    """
    note = _read(folder)
    if note is None or not runs(note.pid, note.start_ticks):
        return False
    send_signal(note.pid, note.start_ticks, signal.SIGKILL)
    return True


def remove_note(folder: Path) -> None:
    """After a boot the note could name a stranger. The cgroups that it names are removed, too.

    They are empty once the session has ended, and the kernel keeps any others.
    """
    note = _read(folder)
    for cgroup in note.cgroups if note is not None else ():
        if cgroup.startswith(CGROUPS):
            with contextlib.suppress(OSError):
                os.rmdir(cgroup)
    (folder / FILE).unlink(missing_ok=True)


def _read(folder: Path) -> _Note | None:
    """Return the note; None if there is none, or a power cut left none that can be read."""
    try:
        return decode((folder / FILE).read_bytes(), _Note)
    except (FileNotFoundError, MalformedMessageError):
        return None
