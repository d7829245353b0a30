"""What marks a pack as damaged: that it is there is what counts, and which chunks are bad helps.

One line of JSON, a newline, the BLAKE3 hash of that line in hexadecimal, a newline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from blake3 import blake3

from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import CHUNK_ID_BYTES, ChunkId

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT = 1


class _Wire(msgspec.Struct, frozen=True, kw_only=True):
    format: int = FORMAT
    chunks: list[str]


def encode(chunks: Iterable[ChunkId]) -> bytes:
    """Return the object's bytes, given the chunks that could not be read."""
    line = msgspec.json.encode(_Wire(chunks=sorted(chunk.hex() for chunk in chunks)))
    return b"%b\n%b\n" % (line, blake3(line).hexdigest().encode())


def parse(data: bytes) -> frozenset[ChunkId]:
    """Return which chunks could not be read, or raise DamagedError."""
    line, newline, rest = data.partition(b"\n")
    if not newline or rest != blake3(line).hexdigest().encode() + b"\n":
        raise DamagedError("the mark has other content, or was cut off")
    try:
        wire = msgspec.json.decode(line, type=_Wire)
        chunks = frozenset(ChunkId(bytes.fromhex(digits)) for digits in wire.chunks)
    except (msgspec.MsgspecError, ValueError) as error:
        raise DamagedError(f"the mark can't be understood: {error}") from None
    if wire.format != FORMAT:
        raise DamagedError(f"the mark has format {wire.format}")
    if any(len(chunk) != CHUNK_ID_BYTES for chunk in chunks):
        raise DamagedError("the mark names something that is no chunk")
    return chunks
