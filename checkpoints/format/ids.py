"""Names of things: chunks by their content, packs and checkpoints by chance."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NewType

from blake3 import blake3

if TYPE_CHECKING:
    import random

ChunkId = NewType("ChunkId", bytes)
"""The BLAKE3 hash of the chunk's raw bytes, 32 bytes."""
PackId = NewType("PackId", bytes)
"""16 random bytes."""
CheckpointId = NewType("CheckpointId", str)
"""16 lower-case hexadecimal digits, random."""
Generation = NewType("Generation", int)
"""From 1."""

CHUNK_ID_BYTES = 32
PACK_ID_BYTES = 16
CHECKPOINT_ID_DIGITS = 16
GENERATION_MAX = 9_999_999_999
_CHECKPOINT_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)


def chunk_id(data: bytes | bytearray | memoryview) -> ChunkId:
    """Return the id of a chunk with these raw bytes. Lets other threads run meanwhile."""
    return ChunkId(blake3(data).digest())


def new_pack_id(rng: random.Random) -> PackId:
    return PackId(rng.randbytes(PACK_ID_BYTES))


def new_checkpoint_id(rng: random.Random) -> CheckpointId:
    return CheckpointId(rng.randbytes(CHECKPOINT_ID_DIGITS // 2).hex())


def parse_checkpoint_id(text: str) -> CheckpointId:
    """Return `text` if it is one, or raise ValueError."""
    if not _CHECKPOINT_ID.fullmatch(text):
        raise ValueError(f"{text!r} is no checkpoint id: it has 16 digits of 0-9 and a-f")
    return CheckpointId(text)
