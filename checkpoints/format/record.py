"""What commits a generation, and what seals a checkpoint.

One line of JSON and its hash. Readers take
whatever fields they know: a later version may add some.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import (
    CHUNK_ID_BYTES,
    GENERATION_MAX,
    CheckpointId,
    ChunkId,
    Generation,
    parse_checkpoint_id,
)
from checkpoints.format.line import hashed, line_in
from checkpoints.format.names import Place

FORMAT = 1
INDEXES_MAX = 16
"""More would be more requests before a reader can begin; a writer merges the smallest."""
RECORD_BYTES_MAX = 4 * 1024 * 1024
PREFETCH_MAX = 20_000
VOLUME_MAX = 0xFFFF
"""Inodes of entries have 16 bits for it."""
_DIGEST_DIGITS = 64


class _Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class PlaceField(_Wire, frozen=True, kw_only=True):
    """One generation of one checkpoint."""

    checkpoint_id: CheckpointId
    generation: Generation

    @classmethod
    def of(cls, place: Place) -> PlaceField:
        return cls(checkpoint_id=place.checkpoint_id, generation=place.generation)

    @property
    def place(self) -> Place:
        return Place(self.checkpoint_id, self.generation)


class TreeField(_Wire, frozen=True, kw_only=True):
    """A generation's tree."""

    root: str
    """The root node's chunk id, hexadecimal."""
    root_bytes: int
    entries: int
    bytes: int
    """Sum of the sizes of all files, modulo 2^64."""

    @property
    def root_id(self) -> ChunkId:
        return ChunkId(bytes.fromhex(self.root))


class Added(_Wire, frozen=True, kw_only=True):
    """What a generation added to the repository."""

    chunks: int = 0
    raw_bytes: int = 0
    stored_bytes: int = 0


class Record(_Wire, frozen=True, kw_only=True):
    """One commit. Of a seal, tree is null and indexes are empty."""

    format: int = FORMAT
    kind: Literal["generation", "seal"]
    checkpoint_id: CheckpointId
    generation: Generation
    run_number: int
    writer: str
    """16 random digits: one's own record is told from another's by it, after a time-out."""
    created_at: datetime
    parent: PlaceField | None = None
    image: str = ""
    final: bool = False
    deleted: bool = False
    """Of a seal: the checkpoint is deleted, and nothing of it is read any more."""
    tree: TreeField | None = None
    volume: int = 0
    """The number of the run's volume; entries that came from it have it in their inode."""
    base: TreeField | None = None
    """What was restored below the volume, and is needed for as long as the run goes on."""
    torn: int = 0
    """Files that changed each time they were read: their content is of no single instant."""
    too_long: int = 0
    """Names that were left out, with all below them: their paths are longer than any may be."""
    indexes: tuple[PlaceField, ...] = ()
    added: Added = Added()
    prefetch: tuple[str, ...] = ()

    @property
    def place(self) -> Place:
        return Place(self.checkpoint_id, self.generation)


def encode(record: Record) -> bytes:
    """Return the object's bytes."""
    return hashed(msgspec.json.encode(record))


def parse(data: bytes, expected: Place) -> Record:
    """Return the valid record of this place, or raise DamagedError."""
    line = line_in(data, "record")
    try:
        record = msgspec.json.decode(line, type=Record)
    except msgspec.MsgspecError as error:
        raise DamagedError(f"the record can't be understood: {error}") from None
    if record.format != FORMAT:
        raise DamagedError(f"the record has format {record.format}, this program knows {FORMAT}")
    if problem := _problem(record, expected):
        raise DamagedError(f"the record {problem}")
    return record


def _problem(record: Record, expected: Place) -> str:
    if record.place != expected:
        return f"is that of {record.place}"
    if not 0 <= record.volume <= VOLUME_MAX:
        return f"has the volume {record.volume}"
    if record.created_at.tzinfo is None:
        return "doesn't say in which time zone it was created"
    if problem := _problem_of_kind(record):
        return problem
    try:
        for field in (record, *record.indexes, *((record.parent,) if record.parent else ())):
            parse_checkpoint_id(field.checkpoint_id)
            if not 1 <= field.generation <= GENERATION_MAX:
                return f"has the generation {field.generation}"
        for tree in (record.tree, record.base):
            if tree is not None and len(tree.root_id) != CHUNK_ID_BYTES:
                return "has a tree without a root"
    except ValueError as error:
        return f"is wrong: {error}"
    return ""


def _problem_of_kind(record: Record) -> str:
    if (record.tree is None) != (record.kind == "seal"):
        return "has no tree" if record.tree is None else "is a seal with a tree"
    if record.deleted and record.kind != "seal":
        return "is a generation that deletes"
    return ""
