"""Whether everything that is stored is what was written; and if not, what that costs.

    format.json, indexes, collections,   their hashes, or that they can be read
    marks of damage
    packs                                trailer, table and every chunk, of all or of a sample;
                                         and whether indexes say the same about them
    records                              their hashes, and their indexes
    trees and bases                      every node, and that every chunk of every file is where
                                         the indexes say

A damage is named by its object. A loss is a path of a generation: damage to what nothing needs
costs nothing, and damage to what several generations share is a loss to each of them.

Others go on meanwhile. What was deleted since it was listed is nobody's loss, what is younger than
the listing is looked for by its name; and what is read wrong is read once more, because the answer
may have been spoilt, and not what is stored.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from checkpoints.format import (
    collection as collection_format,
    index as index_format,
    mark as mark_format,
    names,
    parameters as parameters_format,
)
from checkpoints.format.damage import DamagedError, DamagedObjectError
from checkpoints.format.parameters import Parameters
from checkpoints.reading.known_packs import MISSING, KnownPacks
from checkpoints.reading.pack_checks import CheckedPack, check_by_indexes, check_pack, contradiction
from checkpoints.reading.reach import Reach
from checkpoints.reading.record_checks import RecordCheck
from checkpoints.reading.verified import BadPack, Damage, Losses, Progress, Verified
from checkpoints.repository import NoRepositoryError, Repository
from checkpoints.storage.failures import NotThereError, StorageBrokenError
from checkpoints.storage.probe import PROBES
from common.tasks import side_by_side

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from checkpoints.format.ids import PackId
    from checkpoints.format.index import Index, IndexName
    from checkpoints.format.names import Place
    from checkpoints.format.pack import PackKind
    from checkpoints.storage.storage import Storage
    from common.clock import Clock

_READ = (names.parse_index, names.parse_moved, names.parse_collection, names.parse_mark)
PACKS_AT_ONCE = 4
"""Read whole: 64 MiB at worst."""


async def open_anyway(storage: Storage, *, clock: Clock, rng: random.Random) -> Repository:
    """Open a repository to verify it, even if its `format.json` is damaged or lost.

    Raises NoRepositoryError if there is nothing at all, UnknownFormatError, StorageError.
    """
    try:
        return await Repository.open(storage, clock=clock, rng=rng)
    except DamagedObjectError:
        pass
    except NoRepositoryError:
        async for _ in storage.list(names.RECORDS):
            break
        else:
            raise
    return Repository(storage, Parameters(), clock=clock, rng=rng)


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
        self._packs = KnownPacks(self._look)
        self._damaged_keys: set[str] = set()
        self._claims: dict[PackId, list[Index]] = {}
        """Which indexes say something about a pack."""
        self._index_keys: dict[Index, str] = {}
        self._packs_total = self._records = self._records_total = 0

    async def run(self) -> Verified:
        keys, places = await self._list()
        await self._check_format()
        for key in keys:
            if names.parse_collection(key) is not None:
                await self._check_line(key, collection_format.parse)
            elif (pack_id := names.parse_mark(key)) is not None:
                self._found.marked.add(pack_id)
                await self._check_line(key, mark_format.parse)
            else:
                await self._read_index(key)
        await self._read_packs()
        await self._read_records(places)
        self._found.damages.sort(key=lambda damage: damage.key)
        return self._found

    async def _list(self) -> tuple[list[str], list[Place]]:
        """Look at all names; return those of indexes and collections, and the places of records."""
        keys: list[str] = []
        places: list[Place] = []
        async for listed in self._repository.storage.list(""):
            key = listed.key
            if (pack := names.parse_pack(key)) is not None:
                self._packs.there(*pack)
            elif (place := names.parse_record(key)) is not None:
                places.append(place)
            elif any(parse(key) is not None for parse in _READ):
                keys.append(key)
            elif not _is_other(key):
                self._found.foreign.append(key)
        self._found.packs = len(self._packs)
        self._records_total = len(places)
        with_records = {place.checkpoint_id for place in places}
        with_indexes = {
            place.checkpoint_id for key in keys if (place := names.parse_index(key)) is not None
        }
        self._found.without_records = sorted(with_indexes - with_records)
        return keys, places

    def _damaged(self, key: str, what: str) -> None:
        """Name an object, the first time that something is wrong with it."""
        if key not in self._damaged_keys:
            self._damaged_keys.add(key)
            self._found.damages.append(Damage(key, what))

    async def _check_format(self) -> None:
        try:
            await self._checked(names.FORMAT, _check_format)
        except NotThereError:
            self._damaged(names.FORMAT, MISSING)

    async def _check_line(self, key: str, parse: Callable[[bytes], object]) -> None:
        def check(data: bytes) -> str:
            try:
                parse(data)
            except DamagedError as error:
                return str(error)
            return ""

        with suppress(NotThereError):  # deleted since it was listed
            await self._checked(key, check)

    async def _checked(self, key: str, check: Callable[[bytes], str]) -> bytes:
        """Return an object; name it if `check` finds something wrong twice. NotThereError."""
        data, problem = b"", ""
        for _ in range(2):
            try:
                data = await self._repository.storage.get(key)
            except StorageBrokenError as error:
                problem = str(error)
                continue
            problem = await asyncio.to_thread(check, data)
            if not problem:
                return data
        self._damaged(key, problem)
        return data

    async def _read_index(self, key: str) -> None:
        parsed: list[Index] = []

        def check(data: bytes) -> str:
            try:
                parsed[:] = [index_format.Index(data, _name(key))]
            except DamagedError as error:
                return str(error)
            return ""

        try:
            await self._checked(key, check)
        except NotThereError:
            return  # deleted since it was listed
        for index in parsed:
            self._index_keys[index] = key
            for pack in index.packs:
                self._claims.setdefault(pack.pack_id, []).append(index)

    async def _read_packs(self) -> None:
        packs = self._packs.all()
        chosen = sorted(packs)
        if self._share < 1:
            count = min(len(chosen), max(1, round(len(chosen) * self._share)))
            chosen = sorted(self._rng.sample(chosen, count)) if chosen else []
        self._packs_total = len(chosen)

        async def read(pack_id: PackId) -> None:
            await self._read_pack(packs[pack_id], pack_id)
            self._tell()

        await side_by_side(chosen, read, at_once=PACKS_AT_ONCE)

    async def _read_pack(self, kind: PackKind, pack_id: PackId) -> None:
        key = names.pack(kind, pack_id)
        checked = CheckedPack()

        def check(data: bytes) -> str:
            nonlocal checked
            checked = check_pack(kind, pack_id, data)
            return checked.problem

        try:
            data = await self._checked(key, check)
        except NotThereError:
            self._packs.gone(pack_id)  # deleted since it was listed
            return
        self._packs.there(kind, pack_id)
        self._found.packs_read += 1
        self._found.bytes_read += len(data)
        claims = self._claims.get(pack_id, [])
        bad = checked.bad
        if checked.problem and not checked.table:
            bad = await asyncio.to_thread(check_by_indexes, pack_id, data, claims)
        self._found.chunks_read += len(checked.table) - len(checked.bad)
        if checked.problem:
            self._found.bad_packs[pack_id] = BadPack(kind, frozenset(bad))
        for chunk, what in bad.items():
            self._packs.bad(pack_id, chunk, what)
        for index in claims:
            if what := await asyncio.to_thread(contradiction, index, pack_id, checked.table):
                self._damaged(self._index_keys[index], what)

    async def _read_records(self, places: Sequence[Place]) -> None:
        reach = Reach()
        for place in places:
            check = RecordCheck(self._repository, place, reach, self._packs)
            await check.run()
            for key, what in check.damages.items():
                if not self._may_have_moved(key, what):
                    self._damaged(key, what)
                    self._note_missing(key, what)
            if check.count:
                self._found.losses.append(Losses(place, tuple(check.named), check.count))
            self._found.generations += check.is_generation
            self._records += 1
            self._tell()

    async def _look(self, kind: PackKind, pack_id: PackId) -> None:
        """Look for a pack that wasn't there yet when names were listed."""
        if self._share == 1:
            await self._read_pack(kind, pack_id)
            return
        try:
            await self._repository.storage.size(names.pack(kind, pack_id))
        except NotThereError:
            self._packs.gone(pack_id)
        else:
            self._packs.there(kind, pack_id)

    def _note_missing(self, key: str, what: str) -> None:
        pack = names.parse_pack(key)
        if pack is not None and what.startswith(MISSING):
            self._found.bad_packs.setdefault(pack[1], BadPack(pack[0], frozenset()))

    def _may_have_moved(self, key: str, what: str) -> bool:
        """Say whether a pack may be missing because it was rewritten: what knows is damaged."""
        is_missing = names.parse_pack(key) is not None and what.startswith(MISSING)
        return is_missing and any(names.parse_moved(damaged) for damaged in self._damaged_keys)

    def _tell(self) -> None:
        packs = self._found.packs_read
        self._report(Progress(packs, self._packs_total, self._records, self._records_total))


def _is_other(key: str) -> bool:
    """Say whether it is one of our names that hold nothing to be checked here."""
    is_tombstone = names.parse_tombstone(key) is not None
    return is_tombstone or key == names.FORMAT or key.startswith(PROBES)


def _check_format(data: bytes) -> str:
    try:
        found = parameters_format.parse(data)
    except DamagedError as error:
        return str(error)
    return "" if parameters_format.encode(found) == data else "has something else in it"


def _name(key: str) -> IndexName:
    """Return what an index under this name says it is."""
    if (pack_id := names.parse_moved(key)) is not None:
        return index_format.name_of_moved(pack_id)
    place = names.parse_index(key)
    assert place is not None
    return index_format.name_of(place)
