"""What marks a pack as damaged: that it is there is what counts, and which chunks are bad helps.

One line of JSON and its hash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import CHUNK_ID_BYTES, ChunkId
from checkpoints.format.line import hashed, line_in

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT = 1


class _Wire(msgspec.Struct, frozen=True, kw_only=True):
    format: int = FORMAT
    chunks: list[str]


def encode(chunks: Iterable[ChunkId]) -> bytes:
    """Return the object's bytes, given the chunks that could not be read."""
    return hashed(msgspec.json.encode(_Wire(chunks=sorted(chunk.hex() for chunk in chunks))))


def parse(data: bytes) -> frozenset[ChunkId]:
    """Return which chunks could not be read, or raise DamagedError."""
    line = line_in(data, "mark")
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
