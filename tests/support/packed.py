"""Generations put together by hand: any tree, however odd, with its packs, index and record."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from checkpoints.format import index, names, pack, record
from checkpoints.format.codec import encode
from checkpoints.format.ids import CheckpointId, ChunkId, Generation, PackId, chunk_id
from checkpoints.format.names import Place
from checkpoints.format.pack import PackKind
from checkpoints.tree.builder import build
from checkpoints.tree.entry import Entry, Extents, IndirectExtents, Kind
from checkpoints.tree.extents import Extent, encode_extents
from checkpoints.tree.keys import Key, key_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checkpoints.format.record import Record
    from checkpoints.repository import Repository

ROOT = Entry(kind=Kind.FOLDER, mode=0o755)
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass(slots=True)
class Packing:
    """Chunks of one generation, in one pack of each kind."""

    chunks: dict[PackKind, dict[ChunkId, bytes]] = field(
        default_factory=lambda: {PackKind.DATA: {}, PackKind.TREE: {}}
    )

    def file(self, *pieces: bytes | int, indirect: bool = False) -> Extents | IndirectExtents:
        """Return a file's content: bytes are chunks, numbers are holes."""
        extents = tuple(
            Extent(None, piece) if isinstance(piece, int) else Extent(self.data(piece), len(piece))
            for piece in pieces
        )
        size = sum(extent.length_bytes for extent in extents)
        if not indirect:
            return Extents(size_bytes=size, extents=extents)
        listed = encode_extents(extents)
        halves = (listed[: len(listed) // 2], listed[len(listed) // 2 :])
        return IndirectExtents(
            size_bytes=size,
            references=tuple(Extent(self.node(half), len(half)) for half in halves),
        )

    def data(self, raw: bytes) -> ChunkId:
        return self._keep(PackKind.DATA, raw)

    def node(self, raw: bytes) -> ChunkId:
        return self._keep(PackKind.TREE, raw)

    def _keep(self, kind: PackKind, raw: bytes) -> ChunkId:
        found = chunk_id(raw)
        self.chunks[kind][found] = raw
        return found

    async def commit(
        self,
        repository: Repository,
        entries: Mapping[bytes, Entry],
        *,
        checkpoint: int = 1,
        generation: int = 1,
        created_at: datetime = WHEN,
    ) -> Record:
        """Write the generation with these entries by path; the root folder is added."""
        found: dict[Key, Entry] = {key_of(path): entry for path, entry in entries.items()}
        found.setdefault(key_of(b""), ROOT)
        root = build(sorted(found.items()), self.node)
        place = Place(CheckpointId(f"{checkpoint:016x}"), Generation(generation))
        places: dict[ChunkId, index.ChunkPlace] = {}
        for kind, chunks in self.chunks.items():
            if chunks:
                places |= await _write_pack(repository, kind, chunks)
        await repository.storage.put_new(
            names.index(place), index.build(places, index.name_of(place))
        )
        made = record.Record(
            kind="generation",
            checkpoint_id=place.checkpoint_id,
            generation=place.generation,
            run_number=1,
            writer="0" * 16,
            created_at=created_at,
            tree=record.TreeField(
                root=root.chunk_id.hex(),
                root_bytes=root.raw_bytes,
                entries=root.entries,
                bytes=root.file_bytes,
            ),
            indexes=(record.PlaceField.of(place),),
        )
        await repository.storage.put_new(names.record(place), record.encode(made))
        return made


async def _write_pack(
    repository: Repository, kind: PackKind, chunks: Mapping[ChunkId, bytes]
) -> dict[ChunkId, index.ChunkPlace]:
    pack_id = PackId(repository.rng.randbytes(16))
    entries, parts, at = [], [], 0
    for chunk, raw in chunks.items():
        codec, stored = encode(raw)
        entries.append(pack.PackEntry(chunk, at, len(stored), len(raw), codec))
        parts.append(stored)
        at += len(stored)
    data = b"".join(parts) + pack.footer(kind, pack_id, entries)
    await repository.storage.put_new(names.pack(kind, pack_id), data)
    facts = index.PackFacts(pack_id, kind, len(data))
    return {
        entry.chunk_id: index.ChunkPlace(
            facts, entry.offset, entry.stored_bytes, entry.raw_bytes, entry.codec
        )
        for entry in entries
    }
