"""Whether everything that is stored is what was written; and if not, what that costs.

    packs     trailer, table and every chunk, of all or of a sample
    indexes   their hashes, and what they say about packs that were read
    records   their hashes, and their indexes
    trees     every node, and that every chunk of every file is where the indexes say

A damage is named by its object. A loss is a path of a generation: damage to what nothing needs
costs nothing, and damage to what several generations share is a loss to each of them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from checkpoints.format import names, pack as pack_format
from checkpoints.format.codec import decode
from checkpoints.format.damage import DamagedError, DamagedObjectError
from checkpoints.format.index import Index
from checkpoints.format.pack import TRAILER_BYTES
from checkpoints.reading.reach import Loss, Reach
from checkpoints.storage.failures import NotThereError
from checkpoints.tree.tree import Tree

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from checkpoints.chunk_source import ChunkSource
    from checkpoints.format.ids import ChunkId, PackId
    from checkpoints.format.names import Place
    from checkpoints.format.pack import PackEntry, PackKind
    from checkpoints.format.record import Record
    from checkpoints.repository import Repository

PACKS_AT_ONCE = 4
"""Read whole: 64 MiB at worst."""
LOSSES_MAX = 1000
"""Named of one generation; the others are counted."""


@dataclass(frozen=True, slots=True)
class Damage:
    """An object that isn't what was written."""

    key: str
    what: str


@dataclass(frozen=True, slots=True)
class Losses:
    """What a generation can't give back."""

    place: Place
    named: tuple[Loss, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a verification is."""

    packs: int
    packs_total: int
    generations: int
    generations_total: int


@dataclass(slots=True)
class Verified:
    """What was found."""

    packs: int = 0
    packs_read: int = 0
    bytes_read: int = 0
    chunks_read: int = 0
    generations: int = 0
    damages: list[Damage] = field(default_factory=list)
    losses: list[Losses] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    """Names that aren't ours: nobody reads or deletes them."""

    @property
    def is_sound(self) -> bool:
        return not self.damages and not self.losses


async def verify(
    repository: Repository,
    *,
    share: float = 1.0,
    rng: random.Random | None = None,
    report: Callable[[Progress], None] = lambda _: None,
) -> Verified:
    """Read all packs, or the `share` of them that `rng` draws, and everything else.

    Raises StorageError when the store doesn't answer: that says nothing about what it holds.
    """
    return await _Verification(repository, share, rng or repository.rng, report).run()


class _Verification:
    def __init__(
        self,
        repository: Repository,
        share: float,
        rng: random.Random,
        report: Callable[[Progress], None],
    ) -> None:
        self._repository = repository
        self._share = share
        self._rng = rng
        self._report = report
        self._found = Verified()
        self._packs: dict[PackId, tuple[PackKind, str]] = {}
        self._indexes: dict[str, Index] = {}
        self._bad_chunks: dict[tuple[PackId, ChunkId], str] = {}
        self._damaged_keys: set[str] = set()
        self._claims: dict[PackId, list[str]] = {}
        """Which indexes say something about a pack."""
        self._generations_total = 0

    async def run(self) -> Verified:
        places = await self._list()
        await self._read_indexes()
        await self._read_packs()
        await self._read_trees(places)
        self._found.damages.sort(key=lambda damage: damage.key)
        return self._found

    async def _list(self) -> list[Place]:
        """Look at all names; return those of records."""
        places: list[Place] = []
        async for listed in self._repository.storage.list(""):
            key = listed.key
            if (pack := names.parse_pack(key)) is not None:
                self._packs[pack[1]] = (pack[0], key)
            elif (place := names.parse_record(key)) is not None:
                places.append(place)
            elif not _is_other(key):
                self._found.foreign.append(key)
        self._found.packs = len(self._packs)
        self._generations_total = len(places)
        return places

    def _damaged(self, key: str, what: str) -> None:
        """Name an object, the first time that something is wrong with it."""
        if key not in self._damaged_keys:
            self._damaged_keys.add(key)
            self._found.damages.append(Damage(key, what))

    async def _read_indexes(self) -> None:
        async for listed in self._repository.storage.list(names.INDEXES):
            place, moved = names.parse_index(listed.key), names.parse_moved(listed.key)
            if place is None and moved is None:
                continue
            try:
                data = await self._repository.storage.get(listed.key)
                index = await asyncio.to_thread(Index, data)
            except NotThereError:
                continue  # deleted since it was listed
            except DamagedError as error:
                self._damaged(listed.key, str(error))
                continue
            self._indexes[listed.key] = index
            for pack in index.packs:
                self._claims.setdefault(pack.pack_id, []).append(listed.key)

    async def _read_packs(self) -> None:
        chosen = sorted(self._packs)
        if self._share < 1:
            count = min(len(chosen), max(1, round(len(chosen) * self._share)))
            chosen = sorted(self._rng.sample(chosen, count)) if chosen else []
        left = iter(chosen)

        async def work() -> None:
            for pack_id in left:
                await self._read_pack(pack_id)
                self._found.packs_read += 1
                self._tell(len(chosen))

        async with asyncio.TaskGroup() as group:
            for _ in range(PACKS_AT_ONCE):
                group.create_task(work())

    async def _read_pack(self, pack_id: PackId) -> None:
        kind, key = self._packs[pack_id]
        try:
            data = await self._repository.storage.get(key)
        except NotThereError:
            del self._packs[pack_id]  # deleted since it was listed
            return
        self._found.bytes_read += len(data)
        table, problem, bad = await asyncio.to_thread(_check_pack, kind, pack_id, data)
        if problem:
            self._damaged(key, problem)
        self._found.chunks_read += len(table) - len(bad)
        for chunk, what in bad.items():
            self._bad_chunks[pack_id, chunk] = f"{key}: {what}"
        if not table and problem:
            await asyncio.to_thread(self._check_claims_without_table, pack_id, key, data)
            return
        claims = {key: self._indexes[key] for key in self._claims.get(pack_id, ())}
        for index_key, what in await asyncio.to_thread(_wrong_claims, claims, pack_id, table):
            self._damaged(index_key, what)

    def _check_claims_without_table(self, pack_id: PackId, key: str, data: bytes) -> None:
        """Find by the indexes which chunks of a pack are well whose own table is not."""
        for index_key in self._claims.get(pack_id, ()):
            for chunk, place in self._indexes[index_key].items():
                if place.pack.pack_id != pack_id or (pack_id, chunk) in self._bad_chunks:
                    continue
                stored = data[place.offset : place.offset + place.stored_bytes]
                try:
                    decode(stored, place.codec, raw_bytes=place.raw_bytes, expected=chunk)
                except DamagedError as error:
                    self._bad_chunks[pack_id, chunk] = f"{key}: {error}"

    async def _read_trees(self, places: Sequence[Place]) -> None:
        reach = Reach()
        for place in places:
            try:
                record = await self._repository.record(place)
            except NotThereError:
                continue
            except DamagedObjectError as error:
                self._damaged(error.key, error.problem)
                continue
            if record.tree is not None:
                await self._read_tree(record, reach)
            self._found.generations += 1
            self._tell(self._found.packs_read)

    async def _read_tree(self, record: Record, reach: Reach) -> None:
        place = record.place
        try:
            source = await self._repository.chunks(record)
        except NotThereError:
            return  # deleted meanwhile
        except DamagedObjectError as error:
            self._damaged(error.key, error.problem)
            entries = record.tree.entries if record.tree else 0
            loss = Loss(path=b"", names=entries, reason=str(error))
            self._found.losses.append(Losses(place, (loss,), 1))
            return

        def fetch(chunk: ChunkId) -> bytes:
            try:
                return source.fetch(chunk)
            except DamagedObjectError as error:
                self._damaged(error.key, error.problem)
                raise

        def check(chunk: ChunkId) -> None:
            self._check_chunk(source, chunk)

        assert record.tree is not None
        indexes = frozenset(each.place for each in record.indexes)
        tree = Tree(record.tree.root_id, fetch)  # with no cache that knows nodes from before

        def collect() -> tuple[list[Loss], int]:
            named: list[Loss] = []
            count = 0
            for loss in reach.losses(tree, fetch, check, indexes):
                count += 1
                if len(named) < LOSSES_MAX:
                    named.append(loss)
            return named, count

        named, count = await asyncio.to_thread(collect)
        if count:
            self._found.losses.append(Losses(place, tuple(named), count))

    def _check_chunk(self, source: ChunkSource, chunk: ChunkId) -> None:
        """Raise DamagedError unless a chunk is in one of the places where it may be."""
        problem = f"no index knows where chunk {chunk.hex()} is"
        missing: list[str] = []
        for place in source.places(chunk):
            pack_id = place.pack.pack_id
            if pack_id not in self._packs:
                key = names.pack(place.pack.kind, pack_id)
                problem = f"{key}: is missing"
                missing.append(key)
            elif found := self._bad_chunks.get((pack_id, chunk)):
                problem = found
            else:
                return
        for key in missing:
            self._damaged(key, "is missing")
        raise DamagedError(problem)

    def _tell(self, packs_total: int) -> None:
        found = self._found
        self._report(
            Progress(found.packs_read, packs_total, found.generations, self._generations_total)
        )


def _is_other(key: str) -> bool:
    """Say whether it is one of our names that is looked at elsewhere."""
    parsers = (
        names.parse_index,
        names.parse_moved,
        names.parse_tombstone,
        names.parse_collection,
    )
    return key == names.FORMAT or any(parse(key) is not None for parse in parsers)


def _check_pack(
    kind: PackKind, pack_id: PackId, data: bytes
) -> tuple[list[PackEntry], str, dict[ChunkId, str]]:
    """Return a pack's table, what is wrong with it, and its chunks that are something else."""
    try:
        trailer = pack_format.parse_trailer(data[-TRAILER_BYTES:], pack_id)
        if trailer.kind is not kind or trailer.pack_bytes != len(data):
            raise DamagedError("the pack is of another kind or length than it says")
        end = trailer.table_offset + trailer.table_bytes
        table = pack_format.parse_table(data[trailer.table_offset : end], trailer)
    except DamagedError as error:
        return [], str(error), {}
    bad: dict[ChunkId, str] = {}
    for entry in table:
        stored = memoryview(data)[entry.offset : entry.offset + entry.stored_bytes]
        try:
            decode(stored, entry.codec, raw_bytes=entry.raw_bytes, expected=entry.chunk_id)
        except DamagedError as error:
            bad[entry.chunk_id] = str(error)
    first = next(iter(bad.values()), "")
    return table, f"{len(bad)} of {len(table)} chunks: {first}" if bad else "", bad


def _wrong_claims(
    indexes: Mapping[str, Index], pack_id: PackId, table: Sequence[PackEntry]
) -> list[tuple[str, str]]:
    """Return which indexes say something else about a pack than it does itself."""
    found = []
    for key, index in indexes.items():
        for entry in table:
            place = index.find(entry.chunk_id)
            if place is None or place.pack.pack_id != pack_id:
                continue
            said = (place.offset, place.stored_bytes, place.raw_bytes, place.codec)
            if said != (entry.offset, entry.stored_bytes, entry.raw_bytes, entry.codec):
                found.append((key, f"has chunk {entry.chunk_id.hex()} at the wrong place"))
    return found
