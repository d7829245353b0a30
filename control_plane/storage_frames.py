"""What goes between this program and its processes that read and collect: messages and bytes.

    4 bytes length ─ 1 byte kind ─ so many bytes

A message is JSON; bytes are those of a file. Both ends are of one version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from common.wire import encode

if TYPE_CHECKING:
    import asyncio

    import msgspec

HEAD_BYTES = 5
FRAME_BYTES_MAX = 8 * 1024 * 1024
"""A thousand entries with the longest names and targets; a stream gone wrong is longer."""
MESSAGE = b"m"
DATA = b"d"


class Frame(NamedTuple):
    """One as it came."""

    is_message: bool
    body: bytes


class BrokenFrameError(Exception):
    """What came is no frame."""


def message(value: msgspec.Struct) -> bytes:
    return _framed(MESSAGE, encode(value))


def data(piece: bytes | memoryview) -> bytes:
    return _framed(DATA, piece)


async def read(stream: asyncio.StreamReader) -> Frame | None:
    """Return the next one; None once the other end has gone. Raises BrokenFrameError."""
    head = await stream.read(1)
    if not head:
        return None
    try:
        head += await stream.readexactly(HEAD_BYTES - 1)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if length > FRAME_BYTES_MAX or kind not in (MESSAGE, DATA):
            raise BrokenFrameError
        return Frame(kind == MESSAGE, await stream.readexactly(length))
    except EOFError:  # IncompleteReadError is one
        return None


def _framed(kind: bytes, body: bytes | memoryview) -> bytes:
    assert len(body) <= FRAME_BYTES_MAX
    return b"".join((len(body).to_bytes(4, "big"), kind, body))
