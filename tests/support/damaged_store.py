"""A small repository in which much is shared, and what is left of it whatever happens to an object.

`Left` is the oracle: it tries every place that any index knows, by means of its own.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from checkpoints.format import collection, index as index_format, names, pack as pack_format, record
from checkpoints.format.codec import decode
from checkpoints.format.collection import Findings
from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import ChunkId, PackId
from checkpoints.format.index import Index, IndexName, name_of, name_of_moved
from checkpoints.format.pack import PackKind
from checkpoints.format.record import PlaceField
from checkpoints.tree.entry import Extents, IndirectExtents, Inline, Kind
from checkpoints.tree.keys import path_of
from checkpoints.tree.long_lists import extents_of
from checkpoints.tree.node import Node
from tests.support.every_kind import file, node
from tests.support.packed import Packing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from checkpoints.format.names import Place
    from checkpoints.format.record import Record
    from checkpoints.repository import Repository
    from checkpoints.storage.storage import Storage
    from checkpoints.tree.entry import Entry

SHARED, LARGE, NEW, OTHER, BELOW = (
    random.Random(number).randbytes(size)
    for number, size in enumerate((9000, 40_000, 700, 5000, 1200))
)
MANY = {b"many/%04d" % number: file(b"%02d" % number * 10) for number in range(60)}


async def furnish(repository: Repository) -> None:
    """Commit two generations of one checkpoint, one that continues it, and another; move a pack."""
    first, second, third, other = Packing(), Packing(), Packing(), Packing()
    folder = node(Kind.FOLDER)
    many = {b"many": folder, **MANY}
    one = await first.commit(
        repository,
        {
            b"shared": file(first.file(SHARED)),
            b"large": file(first.file(LARGE, 5000, BELOW)),
            **many,
        },
    )
    two = await second.commit(
        repository,
        {b"new": file(second.file(NEW)), b"large": file(second.file(LARGE)), **many},
        generation=2,
    )
    await share(repository, two, one)
    three = await third.commit(repository, {b"new": file(third.file(NEW + NEW))}, checkpoint=2)
    await share(repository, three, one, base=one)
    await other.commit(
        repository,
        {b"other": file(other.file(OTHER)), b"listed": file(other.file(OTHER, NEW, indirect=True))},
        checkpoint=3,
    )
    await move(repository, OTHER)
    findings = collection.encode(Findings(packs=frozenset({PackId(bytes(16))})))
    await repository.storage.put_new(names.collection(1_700_000_000_000), findings)
    await repository.storage.put_new(names.tombstone(PackId(bytes(16))), b"unreferenced\n")


async def share(
    repository: Repository, made: Record, older: Record, *, base: Record | None = None
) -> None:
    """Let a record name an older one's index too, and maybe its tree as what is below."""
    key = names.record(made.place)
    await repository.storage.delete(key)
    changed = msgspec.structs.replace(
        made,
        indexes=(*made.indexes, PlaceField.of(older.place)),
        base=base.tree if base else None,
    )
    await repository.storage.put_new(key, record.encode(changed))


async def move(repository: Repository, raw: bytes) -> None:
    """Rewrite the pack that has a chunk as a collection does, and delete it."""
    storage = repository.storage
    old = next(key for key, data in (await everything(repository)).items() if raw in data)
    data = await storage.get(old)
    new = PackId(repository.rng.randbytes(16))
    parsed = names.parse_pack(old)
    assert parsed
    trailer = pack_format.parse_trailer(data[-pack_format.TRAILER_BYTES :], parsed[1])
    end = trailer.table_offset + trailer.table_bytes
    table = pack_format.parse_table(data[trailer.table_offset : end], trailer)
    made = data[: trailer.table_offset] + pack_format.footer(PackKind.DATA, new, table)
    await storage.put_new(names.pack(PackKind.DATA, new), made)
    facts = index_format.PackFacts(new, PackKind.DATA, len(made))
    places = {
        entry.chunk_id: index_format.ChunkPlace(
            facts, entry.offset, entry.stored_bytes, entry.raw_bytes, entry.codec
        )
        for entry in table
    }
    await storage.put_new(
        names.moved(new), index_format.build(places, index_format.name_of_moved(new))
    )
    await storage.delete(old)


async def damage(storage: Storage, key: str, at: int = 0) -> None:
    """Flip a bit of an object: by default of a pack's first chunk."""
    data = bytearray(await storage.get(key))
    data[at] ^= 1
    await storage.delete(key)
    await storage.put_new(key, bytes(data))


async def everything(repository: Repository) -> dict[str, bytes]:
    keys = [listed.key async for listed in repository.storage.list("")]
    return {key: await repository.storage.get(key) for key in keys}


@dataclass
class Left:
    """What can be read of objects."""

    objects: Mapping[str, bytes]
    generations: dict[Place, dict[bytes, bytes | None]] = field(default_factory=dict)
    """Of those whose record can be read, by path: content of files; None if it is lost."""
    lost_nodes: set[Place] = field(default_factory=set)
    """Generations of which whole parts are lost, with their names."""
    bases: dict[Place, bool] = field(default_factory=dict)
    """Whether all of what was restored below can be read."""

    def __post_init__(self) -> None:
        moved = [
            index
            for key, data in self.objects.items()
            if (pack_id := names.parse_moved(key)) is not None
            and (index := self._index(data, name_of_moved(pack_id))) is not None
        ]
        for key, data in self.objects.items():
            if (place := names.parse_record(key)) is None:
                continue
            try:
                found = record.parse(data, place)
            except DamagedError:
                continue
            if found.tree is not None:
                self._read(found, moved)

    def _index(self, data: bytes, name: IndexName) -> Index | None:
        try:
            return Index(data, name)
        except DamagedError:
            return None

    def _read(self, found: Record, moved: list[Index]) -> None:
        place = found.place
        indexes = [
            self._index(self.objects.get(names.index(each.place), b""), name_of(each.place))
            for each in found.indexes
        ]
        whole = [index for index in indexes if index is not None]
        self.generations[place] = {}
        if len(whole) < len(indexes):
            self.lost_nodes.add(place)
            self.bases[place] = False
            return
        assert found.tree is not None
        self._indexes = [*moved, *whole]
        for path, entry in self._entries(found.tree.root_id, place):
            self.generations[place][path] = self._content(entry)
        if found.base is not None:
            lost = set(self.lost_nodes)
            below = [self._content(entry) for _, entry in self._entries(found.base.root_id, place)]
            self.bases[place] = None not in below and lost == self.lost_nodes
            self.lost_nodes = lost

    def _entries(self, root: ChunkId, place: Place) -> Iterator[tuple[bytes, Entry]]:
        raw = self._chunk(root)
        if raw is None:
            self.lost_nodes.add(place)
            return
        found = Node(raw)
        if not found.level:
            yield from ((path_of(key), entry) for key, entry in found.entries(0, found.count))
            return
        for number in range(found.count):
            yield from self._entries(found.child(number).chunk_id, place)

    def _content(self, entry: Entry) -> bytes | None:
        def fetch(chunk: ChunkId) -> bytes:
            raw = self._chunk(chunk)
            if raw is None:
                raise DamagedError("lost")
            return raw

        if isinstance(entry.content, Inline):
            return entry.content.data
        if not isinstance(entry.content, (Extents, IndirectExtents)):
            return b""
        try:
            return b"".join(
                fetch(extent.chunk_id) if extent.chunk_id else bytes(extent.length_bytes)
                for extent in extents_of(entry.content, fetch)
            )
        except DamagedError:
            return None

    def _chunk(self, chunk: ChunkId) -> bytes | None:
        for index in self._indexes:
            if (at := index.find(chunk)) is None:
                continue
            data = self.objects.get(names.pack(at.pack.kind, at.pack.pack_id), b"")
            stored = data[at.offset : at.offset + at.stored_bytes]
            try:
                return decode(stored, at.codec, raw_bytes=at.raw_bytes, expected=chunk)
            except DamagedError:
                continue
        return None
