"""How programs end, in words. Pure."""

from __future__ import annotations

import signal

_SHELL_WORDS = {126: "it can't be executed", 127: "no such program"}


def describe_exit(code: int) -> str:
    """Name an exit as people do: `exit code 1`, `killed by SIGKILL`."""
    if code in _SHELL_WORDS:
        return f"exit code {code}, {_SHELL_WORDS[code]}"
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:  # real-time signals have no names
        name = f"signal {-code}"
    return f"killed by {name}"
