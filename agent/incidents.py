"""What the session's limits did to it, as sentences for the status. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.messages import RootStatus
    from common.session_spec import ResourceLimits

_GIB = 1024**3


def sentences(root: RootStatus, limits: ResourceLimits) -> tuple[str, ...]:
    """Return one sentence for each kind of incident; empty while there was none."""
    found: list[str] = []
    if root.memory_kill_count:
        found.append(_memory(root, limits))
    if root.process_limit_hits:
        found.append(
            "Programs could not be started because the session had as many processes as it may "
            "have: end some of them."
        )
    return tuple(found)


def _memory(root: RootStatus, limits: ResourceLimits) -> str:
    counts = Counter(root.memory_kills)
    names = ", ".join(
        name if count == 1 else f"{name} ({count} times)" for name, count in counts.items()
    )
    unnamed = root.memory_kill_count - len(root.memory_kills)
    if not names:
        names = "a process" if unnamed == 1 else f"{unnamed} processes"
    elif unnamed > 0:
        names += f" and {unnamed} more"
    cause = "memory ran out"
    if limits.memory_bytes is not None:
        cause = f"the session used up its {limits.memory_bytes / _GIB:.3g} GB of memory"
    return f"The kernel ended {names} because {cause}."
