"""Exactly one process of this boot, named by its pid and when it started.

A pid alone is given away again; with its start time it names one process until the next boot.
"""

from __future__ import annotations

import os
import signal

from control_plane.engines.launch import start_ticks


def runs(pid: int, started: int | None) -> bool:
    """Say whether it runs; one that has ended and was not reaped does not."""
    return started is not None and start_ticks(pid) == started


def send_signal(pid: int, started: int | None, number: signal.Signals) -> None:
    """Signal it and no other: the descriptor pins the process before it is compared."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if runs(pid, started):
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)
