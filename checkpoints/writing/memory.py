"""Keeps the memory that a capture frees for what it needs next.

A capture reads, compresses and sends hundreds of megabytes through buffers of some megabytes. C's
library gives each back to the kernel as soon as it is free, and asks for it again, page by page: a
tenth of a first write's processor time. So it is told to keep them, and to give back what it has
when the capture has ended.
"""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT_BYTES_MAX = 256 * 1024 * 1024
"""Free memory at the end of a heap. A capture never has so much."""
MAPPED_BYTES_MIN = 32 * 1024 * 1024
"""What is longer is mapped by itself, and new each time: the highest that the library allows."""
GROWTH_BYTES = 16 * 1024 * 1024
"""By which a heap grows: some buffers."""
HEAPS_MAX = 1
"""What is freed in a heap is used again only there, and only of the first one can all be given
back. Threads seldom wait for each other there, as most of what they ask for is large."""

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8  # of malloc.h

_libc = ctypes.CDLL(None)
_IS_GLIBC = hasattr(_libc, "mallopt") and hasattr(_libc, "malloc_trim")


@contextmanager
def kept() -> Iterator[None]:
    """Keep what is freed while inside, whoever in the process does.

    Nothing happens where the library isn't glibc, which has these settings.
    """
    if not _IS_GLIBC:
        yield
        return
    _libc.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES_MAX)
    _libc.mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES_MIN)
    _libc.mallopt(_M_TOP_PAD, GROWTH_BYTES)
    _libc.mallopt(_M_ARENA_MAX, HEAPS_MAX)
    try:
        yield
    finally:
        _libc.malloc_trim(0)
