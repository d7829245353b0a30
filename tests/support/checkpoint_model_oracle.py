"""What a store holds, read at once and past everything that reads for users.

Only the format's parsers are shared with the code under test. Where a chunk is, is found as the
document says: in `index/moved`, the latest first, then in the record's indexes, in its order,
passing over packs that aren't there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from checkpoints.format import names, record as record_format
from checkpoints.format.codec import decode
from checkpoints.format.damage import DamagedError
from checkpoints.format.index import Index
from checkpoints.tree.entry import Device, Entry, Extents, IndirectExtents, Inline, Kind, Target
from checkpoints.tree.keys import path_of
from checkpoints.tree.long_lists import extents_of
from checkpoints.tree.tree import Tree
from tests.support.checkpoint_rig import Thing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from checkpoints.format.ids import ChunkId
    from checkpoints.format.index import ChunkPlace
    from checkpoints.format.names import Place
    from checkpoints.format.record import Record, TreeField
    from checkpoints.tree.node import Fetch
    from tests.support.checkpoint_model_store import SimulatedStore

Things = dict[bytes, Thing]
"""What a tree holds, by path."""


def overlaid(base: Mapping[bytes, Thing], upper: Mapping[bytes, Thing]) -> Things:
    """Return what a volume shows over its base, as one layer over the image."""

    def is_hidden(path: bytes) -> bool:
        while path:
            path = path.rpartition(b"/")[0]
            above = upper.get(path)
            if above is not None and (above.kind is not Kind.FOLDER or above.content):
                return True
        return False

    found = {path: thing for path, thing in base.items() if not is_hidden(path)}
    for path, thing in upper.items():
        below = base.get(path)
        if thing.kind is Kind.FOLDER and below is not None and not is_hidden(path):
            is_opaque = thing.content or below.kind is not Kind.FOLDER or below.content
            found[path] = thing._replace(content=bool(is_opaque))
        else:
            found[path] = thing
    return found


class Oracle:
    """See the module."""

    def __init__(self, store: SimulatedStore) -> None:
        self.store = store
        self._indexes: dict[bytes, Index] = {}

    def record(self, place: Place) -> Record:
        return record_format.parse(self.store.objects[names.record(place)].data, place)

    def places(self) -> list[Place]:
        """Return the places of all records."""
        found = (names.parse_record(key) for key in self.store.objects)
        return sorted(place for place in found if place is not None)

    def indexes(self, record: Record) -> list[tuple[str, Index]]:
        """Return where a record's chunks are looked for, in order."""
        moved = sorted(
            (
                (held.modified, key)
                for key, held in self.store.objects.items()
                if names.parse_moved(key) is not None
            ),
            reverse=True,
        )
        own = [names.index(field.place) for field in record.indexes]
        return [
            (key, self.index(self.store.objects[key].data))
            for key in (*(key for _, key in moved), *own)
            if key in self.store.objects
        ]

    def find(
        self, indexes: Sequence[tuple[str, Index]], chunk: ChunkId
    ) -> tuple[str, ChunkPlace] | None:
        """Return the index through which a chunk is found, and where; None if it is lost."""
        for key, index in indexes:
            place = index.find(chunk)
            if place is not None and pack_key(place) in self.store.objects:
                return key, place
        return None

    def index(self, data: bytes) -> Index:
        if data not in self._indexes:
            self._indexes[data] = Index(data)
        return self._indexes[data]

    def read(self, indexes: Sequence[tuple[str, Index]], chunk: ChunkId) -> bytes:
        """Return a chunk, or raise DamagedError."""
        found = self.find(indexes, chunk)
        if found is None:
            raise DamagedError(f"chunk {chunk.hex()} is lost")
        _, place = found
        data = self.store.objects[pack_key(place)].data
        stored = data[place.offset : place.offset + place.stored_bytes]
        return decode(stored, place.codec, raw_bytes=place.raw_bytes, expected=chunk)

    def holds(self, record: Record, field: TreeField) -> tuple[Things, frozenset[ChunkId]]:
        """Return what a tree holds, every byte checked, and all chunks that this took."""
        reached: set[ChunkId] = set()
        indexes = self.indexes(record)

        def fetch(chunk: ChunkId) -> bytes:
            reached.add(chunk)
            return self.read(indexes, chunk)

        tree = Tree(field.root_id, fetch)
        entries = {path_of(key): entry for key, entry in tree.walk()}
        assert (tree.root.entries, tree.root.file_bytes) == (field.entries, field.bytes)
        assert tree.root.raw_bytes == field.root_bytes
        several = _several(entries)
        things = {
            path: Thing(
                kind=entry.kind,
                mode=entry.mode,
                owner=(entry.user, entry.group),
                modified_ns=entry.modified_ns,
                attributes=entry.attributes,
                content=b"".join(_content(entry, fetch))
                if entry.kind is Kind.FILE
                else _other(entry),
                names=several.get(entry.inode, ()) if entry.several_names else (),
            )
            for path, entry in entries.items()
        }
        return things, frozenset(reached)


def pack_key(place: ChunkPlace) -> str:
    return names.pack(place.pack.kind, place.pack.pack_id)


def _several(entries: Mapping[bytes, Entry]) -> dict[int, tuple[bytes, ...]]:
    found: dict[int, tuple[bytes, ...]] = {}
    for path, entry in sorted(entries.items()):
        if entry.several_names:
            found[entry.inode] = (*found.get(entry.inode, ()), path)
    return found


def _content(entry: Entry, fetch: Fetch) -> Iterator[bytes]:
    content = entry.content
    if isinstance(content, Inline):
        yield content.data
        return
    assert isinstance(content, (Extents, IndirectExtents))
    for extent in extents_of(content, fetch):
        chunk = extent.chunk_id
        yield bytes(extent.length_bytes) if chunk is None else fetch(chunk)


def _other(entry: Entry) -> object:
    match entry.content:
        case Target(path=path):
            return path
        case Device(major=major, minor=minor):
            return (major, minor)
        case _:
            return entry.opaque if entry.kind is Kind.FOLDER else None
