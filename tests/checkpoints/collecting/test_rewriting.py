"""What is kept is stored better, reads the same, and whoever is cut off has broken nothing."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from checkpoints.collecting import rewriting
from checkpoints.collecting.collector import collect, collect_while_nobody_writes
from checkpoints.collecting.settings import Settings
from checkpoints.format import names
from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import Generation
from checkpoints.format.index import name_of, named
from checkpoints.format.names import Place
from checkpoints.format.pack import PackKind
from checkpoints.reading.verify import verify
from checkpoints.tree.entry import Extents
from checkpoints.writing.writer import Writer
from tests.support.checkpoint_rig import CHECKPOINT, OTHER, Thing, read_back, seen, writer
from tests.support.collecting_store import (
    AgingStore,
    Calendar,
    bytes_in,
    keys_in,
    packs_in,
    repository_in,
)
from tests.support.faulty_store import Cut, FaultyStore

if TYPE_CHECKING:
    from checkpoints.collecting.outcome import Collected
    from checkpoints.format.record import Record
    from checkpoints.repository import Repository
    from checkpoints.storage.storage import Storage
    from checkpoints.tree.keys import Key

SOURCES = b"".join(
    path.read_bytes() for path in sorted(Path(random.__file__).parent.glob("*.py"))[:60]
)


def fill_with_text(folder: Path, seed: int, *, files: int = 30) -> None:
    """Write files that can be compressed, better the longer one tries."""
    rng = random.Random(seed)
    for number in range(files):
        at = rng.randrange(len(SOURCES) - 20_000)
        (folder / f"file{number}").write_bytes(b"%d %d" % (seed, number) + SOURCES[at:][:20_000])


async def test_what_is_kept_for_a_week_is_compressed_better_and_reads_the_same(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    fill_with_text(tmp_path, 1)
    record = await (await writer(found)).write(tmp_path, final=True)
    packs, size = await packs_in(store), await bytes_in(store)
    clock.pass_by(hours=24 * 6.9)
    assert not (await collect(found)).rewritten_packs
    clock.pass_by(hours=24)
    outcome = await collect(found)
    assert outcome.rewritten_packs == 2
    assert outcome.written_bytes < 0.9 * outcome.rewritten_bytes
    assert packs < await packs_in(store)
    for _ in range(4):
        clock.pass_by(hours=25)
        assert not (await collect(found)).rewritten_packs
    assert not packs & await packs_in(store)
    assert await bytes_in(store) < 0.95 * size
    fresh = await repository_in(store, clock)
    assert await read_back(fresh, record) == seen(tmp_path)
    assert (await verify(fresh)).is_sound


async def test_what_was_stored_raw_in_a_hurry_is_tried_once_again(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    rng = random.Random(1)
    numbers = bytearray(rng.randbytes(600_000))
    numbers[3::4] = numbers[3::4].translate(bytes(0xB8 + number % 6 for number in range(256)))
    (tmp_path / "numbers").write_bytes(numbers)
    (tmp_path / "noise").write_bytes(rng.randbytes(250_000))
    record = await (await writer(found)).write(tmp_path, final=True)
    assert record.added.stored_bytes > 850_000
    clock.pass_by(hours=24 * 8)
    assert (await collect(found)).rewritten_packs == 2
    for _ in range(4):
        clock.pass_by(hours=24 * 8)
        assert not (await collect(found)).rewritten_packs
    assert await bytes_in(store) < 820_000
    fresh = await repository_in(store, clock)
    assert await read_back(fresh, record) == seen(tmp_path)


async def test_of_a_pack_that_is_half_empty_only_what_is_needed_is_kept(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    one = await writer(found)
    fill_with_text(tmp_path, 1)
    await one.write(tmp_path)
    fill_with_text(tmp_path, 2, files=20)  # the other ten stay
    for _ in range(3):
        (tmp_path / "file0").touch()
        await one.write(tmp_path)
    record = one.previous
    assert record is not None
    before = await bytes_in(store, names.PACKS[PackKind.DATA])
    await collect(found)
    for _ in range(6):
        clock.pass_by(hours=25)
        assert not (await collect(found)).problems
    assert await bytes_in(store, names.PACKS[PackKind.DATA]) < 0.75 * before
    outcome = await collect(found)
    assert outcome.needed_bytes > 0.9 * outcome.stored_bytes
    fresh = await repository_in(store, clock)
    assert await read_back(fresh, record) == seen(tmp_path)
    assert (await verify(fresh)).is_sound


async def test_a_writer_that_was_there_before_goes_on_after_its_packs_were_rewritten(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    one = await writer(found)
    fill_with_text(tmp_path, 1)
    await one.write(tmp_path)
    clock.pass_by(hours=24 * 8)
    for hours in (25, 25, 25, 25):
        await collect(await repository_in(store, clock, seed=9))
        clock.pass_by(hours=hours)
    fill_with_text(tmp_path, 2, files=1)
    record = await one.write(tmp_path)
    assert record.added.raw_bytes < 100_000
    assert await read_back(found, record) == seen(tmp_path)
    assert (await verify(found)).is_sound


async def test_a_collection_with_rewriting_may_end_after_any_operation(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    """All that was committed reads whole then, and later collections end the job."""
    settings = replace(Settings(), moved_indexes_max=1)
    expected: list[tuple[Record, dict[bytes, Thing]]] = []
    for number, checkpoint in enumerate((CHECKPOINT, OTHER)):
        folder = tmp_path / checkpoint
        folder.mkdir()
        one = await writer(found, checkpoint)
        for seed in range(4):
            fill_with_text(folder, seed, files=4 + number)
            await one.write(folder)
        assert one.previous is not None
        expected.append((one.previous, seen(folder)))
    left = Place(OTHER, Generation(99))
    index = await store.get(f"index/{OTHER}/0000000001")
    for hours in (2, 22, 4, 24 * 7):
        await collect(found, settings)
        clock.pass_by(hours=hours)
        if hours == 2:  # found once, by the last of these
            await store.put_new(names.index(left), named(index, name_of(left)))
    assert len(await keys_in(store, names.TOMBSTONES)) == 4
    outcome = None
    changes = 0
    while outcome is None:
        outcome = await _cut(await store.copy(), clock, changes, settings, expected)
        changes += 1
    assert (outcome.rewritten_packs, outcome.deleted_packs) == (12, 4)
    assert outcome.deleted_indexes
    assert changes > 15


async def _cut(
    store: AgingStore,
    clock: Calendar,
    changes: int,
    settings: Settings,
    expected: list[tuple[Record, dict[bytes, Thing]]],
) -> Collected | None:
    """Cut a collection off; return what it said if it came to its end before."""
    cut = await repository_in(_CutChanges(store, changes), clock, seed=changes + 100)
    outcome = None
    with suppress(Cut):
        outcome = await collect(cut, settings)
    fresh = await repository_in(store, clock, seed=changes + 10_000)
    for record, things in expected:
        assert await read_back(fresh, record) == things
    assert (await verify(fresh)).is_sound
    began = clock.elapsed
    for _ in range(5):
        clock.pass_by(hours=25)
        await collect(fresh, settings)
    clock.elapsed = began
    for record, things in expected:
        assert await read_back(fresh, record) == things
    assert len(await packs_in(store)) == 2
    assert not await keys_in(store, names.TOMBSTONES)
    return outcome


async def test_new_packs_that_vanish_before_their_index_cost_nothing(
    store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    """As when the machine slept for days between both."""
    faulty = _Loses(store)
    found = await repository_in(faulty, clock)
    fill_with_text(tmp_path, 1)
    record = await (await writer(found)).write(tmp_path, final=True)
    clock.pass_by(hours=24 * 8)
    faulty.is_losing = True
    outcome = await collect(found)
    assert outcome.problems
    assert not outcome.rewritten_packs
    assert not await keys_in(store, names.MOVED)
    assert await read_back(found, record) == seen(tmp_path)


async def test_many_moved_indexes_become_one(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    settings = replace(Settings(), moved_indexes_max=4)
    one = await writer(found)
    for number in range(6):
        (tmp_path / f"kept{number}").write_bytes(random.Random(number).randbytes(10_000))
        await one.write(tmp_path)
        clock.pass_by(hours=24 * 8)
        await collect(found, settings)
    assert len(await keys_in(store, names.MOVED)) > 4
    for _ in range(6):
        clock.pass_by(hours=25)
        await collect(found, settings)
    assert len(await keys_in(store, names.MOVED)) <= 4
    assert (await collect(found, settings)).next_at is None
    fresh = await repository_in(store, clock)
    assert one.previous is not None
    assert await read_back(fresh, one.previous) == seen(tmp_path)
    assert (await verify(fresh)).is_sound
    (tmp_path / "kept0").write_bytes(random.Random(3).randbytes(10_000))
    record = await (await Writer.open(fresh, CHECKPOINT, run_number=1)).write(tmp_path)
    assert await read_back(fresh, record) == seen(tmp_path)


async def test_a_damaged_chunk_is_named_and_its_pack_kept(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    fill_with_text(tmp_path, 1)
    record = await (await writer(found)).write(tmp_path, final=True)
    (key,) = await keys_in(store, names.PACKS[PackKind.DATA])
    data = bytearray(await store.get(key))
    data[len(data) // 2] ^= 1
    await store.replace(key, bytes(data))
    clock.pass_by(hours=24 * 8)
    for _ in range(5):
        await collect(found)
        clock.pass_by(hours=25)
    outcome = await collect(found)
    assert any(key in problem for problem in outcome.problems)
    assert key in await keys_in(store)
    things = await _readable(found, record)
    assert len(things) == 29


async def test_while_nobody_writes_all_can_be_done_at_once(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    one = await writer(found)
    for seed in range(4):
        fill_with_text(tmp_path, seed)
        await one.write(tmp_path, final=seed == 3)
    outcome = await collect_while_nobody_writes(found)
    assert outcome.packs == 2
    assert not outcome.unused_packs
    assert not await keys_in(store, names.TOMBSTONES)
    fresh = await repository_in(store, clock)
    assert one.previous is not None
    assert await read_back(fresh, one.previous) == seen(tmp_path)
    assert (await verify(fresh)).is_sound


async def _readable(found: Repository, record: Record) -> list[Key]:
    chunks = await found.chunks(record)

    def read() -> list[Key]:
        whole = []
        for key, entry in found.tree(record, chunks).walk():
            if isinstance(entry.content, Extents):
                with suppress(DamagedError):
                    for extent in entry.content.extents:
                        assert extent.chunk_id is not None
                        chunks.fetch(extent.chunk_id)
                    whole.append(key)
        return whole

    return await asyncio.to_thread(read)


class _CutChanges(FaultyStore):
    """Ends the process before a change: what it only reads in between makes no difference."""

    def __init__(self, inner: Storage, changes: int) -> None:
        super().__init__(inner)
        self._left = changes

    async def put_new(self, key: str, data: bytes) -> None:
        self._count(key)
        await super().put_new(key, data)

    async def delete(self, key: str) -> None:
        self._count(key)
        await super().delete(key)

    def _count(self, key: str) -> None:
        if not self._left:
            raise Cut(f"cut before {key} is changed")
        self._left -= 1


class _Loses(FaultyStore):
    """Loses packs right after they were stored."""

    is_losing = False

    async def put_new(self, key: str, data: bytes) -> None:
        await super().put_new(key, data)
        if self.is_losing and names.parse_pack(key):
            await self.inner.delete(key)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewriting, "BATCH_BYTES", 20_000)
