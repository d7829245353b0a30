"""The four sizes of sessions' volumes: as people write them, and what may be wrong with them.

A volume begins with the initial size and grows by a step whenever less than a minimum is free, up
to the limit. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.session_spec import VolumeLimits

INITIAL_BYTES_MIN = 256 * 1024**2
"""btrfs takes 109 MiB for itself; what is left shall hold a tool's first files."""
FREE_BYTES_MIN = 64 * 1024**2
"""A writer uses this up in 40 ms, the time that a growth takes."""
STEP_BYTES_MIN = 64 * 1024**2

_UNITS = {"MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
_SIZE = re.compile(r"(\d{1,7}(?:\.\d{1,3})?) ?([MGT]B)", re.ASCII | re.IGNORECASE)


def parse_size(text: str) -> int:
    """Return the bytes that `2 GB`, `512MB` or `1.5 TB` are; raises ValueError with a sentence.

    As `df -h` and memory have it: 1 GB is 1024³ bytes.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size: write it like 2 GB or 512 MB.")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def show_size(size_bytes: int) -> str:
    """Return a size as `parse_size` reads it, in the largest unit that leaves a whole number."""
    for unit, factor in reversed(_UNITS.items()):
        if size_bytes >= factor and size_bytes % factor == 0:
            return f"{size_bytes // factor} {unit}"
    return f"{size_bytes / _UNITS['MB']:.0f} MB"


def problem_of_sizes(volume: VolumeLimits) -> str | None:
    """Say what is wrong with the sizes, each by itself and together; None if nothing is."""
    initial, free = show_size(volume.initial_bytes), show_size(volume.free_bytes_min)
    least = {
        "initial size": (volume.initial_bytes, INITIAL_BYTES_MIN),
        "minimum of free space": (volume.free_bytes_min, FREE_BYTES_MIN),
        "step": (volume.step_bytes, STEP_BYTES_MIN),
    }
    for name, (size_bytes, bytes_min) in least.items():
        if size_bytes < bytes_min:
            return f"A volume's {name} is at least {show_size(bytes_min)}."
    if volume.free_bytes_min >= volume.initial_bytes:
        return f"A volume of {initial} at first can't keep {free} free: make the first larger."
    if volume.initial_bytes > volume.limit_bytes:
        limit = show_size(volume.limit_bytes)
        return f"A volume of {initial} at first is over the limit of {limit}: raise the limit."
    return None
