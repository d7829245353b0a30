"""How programs end, in words. Pure."""

from __future__ import annotations

import signal


def describe_exit(code: int) -> str:
    """Name an exit as people do: `exit code 1`, `killed by SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:  # real-time signals have no names
        name = f"signal {-code}"
    return f"killed by {name}"
