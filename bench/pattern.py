"""Bodies of any length whose every byte is known by its position, to be checked. Pure.

A body repeats one block of random bytes. Its length is a prime: a piece that is lost, repeated or
moved by any usual buffer size lands on other bytes.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_BYTES = 256 * 1024
_BLOCK_BYTES = 1_000_003
_BLOCK = random.Random(1).randbytes(_BLOCK_BYTES)
_TWICE = _BLOCK * 2  # any piece of up to a block is one slice of it


def pieces(total_bytes: int) -> Iterator[memoryview]:
    """Yield a body of `total_bytes`."""
    view = memoryview(_TWICE)
    for position in range(0, total_bytes, PIECE_BYTES):
        start = position % _BLOCK_BYTES
        yield view[start : start + min(PIECE_BYTES, total_bytes - position)]


def is_right(data: bytes, position: int) -> bool:
    """Say whether `data`, at most a block, is what a body has at `position`."""
    start = position % _BLOCK_BYTES
    return len(data) <= _BLOCK_BYTES and data == _TWICE[start : start + len(data)]
