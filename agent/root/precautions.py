"""What an agent does about itself before it makes a session's root; once, before it has threads."""

from __future__ import annotations

from pathlib import Path

from agent.root.layers import enter_own_mounts
from agent.root.shared_limits import raise_shared_limits

MEMORY_KILL_ADJUSTMENT = -900
"""Of -1000 to 1000: nearly never chosen when the machine is out of memory. A session's processes
start from 0 again, and can't set less."""


def take_precautions() -> tuple[str, ...]:
    """Be out of the way of the session's memory bombs, and make mounts that the host never sees.

    Return sentences for the status: what couldn't be done. Raise OSError where the mount namespace
    is refused; then no session root can be made here.
    """
    enter_own_mounts()
    return (*raise_shared_limits(), *_outlive_memory_bombs())


def _outlive_memory_bombs() -> tuple[str, ...]:
    try:
        Path("/proc/self/oom_score_adj").write_text(str(MEMORY_KILL_ADJUSTMENT))
    except OSError:
        return (
            "The agent can't be kept from being ended when the machine itself is out of memory "
            "(it has no capability SYS_RESOURCE).",
        )
    return ()
