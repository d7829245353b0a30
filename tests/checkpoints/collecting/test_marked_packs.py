"""Packs that were found damaged: what is whole in them moves, the rest stays with its records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from checkpoints.collecting.collector import collect
from checkpoints.collecting.deleting import delete_checkpoint
from checkpoints.format import mark, names
from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import PackId
from checkpoints.format.pack import PackKind
from checkpoints.reading.verify import verify
from tests.support.checkpoint_rig import CHECKPOINT, OTHER, fill, read_back, seen, writer
from tests.support.collecting_store import keys_in, repository_in
from tests.support.damaged_store import move

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoints.collecting.outcome import Collected
    from checkpoints.format.ids import ChunkId
    from checkpoints.format.index import PackFacts
    from checkpoints.format.record import Record
    from checkpoints.repository import Repository
    from tests.support.collecting_store import AgingStore, Calendar

FIRST_CHUNK, TRAILER = 0, -1


async def test_a_pack_whose_table_is_damaged_is_rewritten_whole(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    fill(tmp_path, 1)
    record = await (await writer(found)).write(tmp_path, final=True)
    pack = await spoil(found, store, record, TRAILER)
    await days(found, clock, 5)
    assert key_of(pack) not in await keys_in(store)
    assert not await keys_in(store, names.MARKS)
    assert await read_back(found, record) == seen(tmp_path)
    assert (await verify(found)).is_sound


@pytest.mark.parametrize("is_understood", [True, False])
async def test_what_is_whole_moves_and_what_is_not_stays_with_its_record(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path, is_understood: bool
) -> None:
    """Whoever has the bytes may know how to mend them; and the rest is read without them."""
    fill(tmp_path, 1)
    record = await (await writer(found)).write(tmp_path, final=True)
    pack = await spoil(found, store, record, FIRST_CHUNK, is_understood=is_understood)
    outcomes = await days(found, clock, 5)
    assert outcomes[1].rewritten_packs == 1
    assert outcomes[-1].problems
    assert {key_of(pack), names.mark(pack.pack_id)} < await keys_in(store)
    (losses,) = (await verify(found)).losses
    assert [loss.path for loss in losses.named] == [b"file0"]
    moved = {chunk for index in await found.moved() for chunk, _ in index.items()}
    assert moved == set(await whole(found, record, pack))
    await delete_checkpoint(found, CHECKPOINT)
    await days(found, clock, 5)
    assert not {key for key in await keys_in(store) if names.parse_pack(key)}
    assert not await keys_in(store, names.MARKS)


async def test_a_damaged_chunk_is_kept_where_it_is_whole(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    """Readers look into moved indexes first, and these know only the damaged place."""
    fill(tmp_path, 1)
    one = await writer(found)
    await one.write(tmp_path)
    await move(found, (tmp_path / "file0").read_bytes()[:1000])
    ((pack,),) = [index.packs for index in await found.moved()]
    await flip(store, key_of(pack), FIRST_CHUNK)
    await store.put_new(names.mark(pack.pack_id), mark.encode([]))
    record = await one.write(tmp_path, changes=[], final=True)
    await days(found, clock, 8)
    assert await read_back(await repository_in(store, clock, seed=9), record) == seen(tmp_path)
    assert key_of(pack) not in await keys_in(store)
    assert (await verify(found)).is_sound


async def test_a_generation_with_a_damaged_chunk_does_not_supersede_the_one_before(
    found: Repository, store: AgingStore, tmp_path: Path
) -> None:
    one = await writer(found)
    fill(tmp_path, 1)
    before = await one.write(tmp_path)
    kept = seen(tmp_path)
    fill(tmp_path, 2)
    last = await one.write(tmp_path, final=True)
    await spoil(found, store, last, FIRST_CHUNK)
    outcome = await collect(found)
    assert names.record(last.place) in outcome.problems[0]
    assert [place.generation for place in await found.places(CHECKPOINT)] == [2, 1]
    assert await read_back(found, before) == kept


async def test_where_a_node_is_damaged_too_all_that_may_be_needed_moves(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    fill(tmp_path, 1)
    record = await (await writer(found)).write(tmp_path, final=True)
    await spoil(found, store, record, FIRST_CHUNK, kind=PackKind.TREE)
    pack = await spoil(found, store, record, FIRST_CHUNK)
    await days(found, clock, 3)
    moved = {chunk for index in await found.moved() for chunk, _ in index.items()}
    assert moved >= set(await whole(found, record, pack))


async def test_what_was_stored_anew_makes_others_whole_once_it_is_moved(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    """Whatever is found through a moved index is found by all."""
    fill(tmp_path, 1)
    first = await (await writer(found)).write(tmp_path, final=True)
    await spoil(found, store, first, FIRST_CHUNK)
    second = await (await writer(found, OTHER)).write(tmp_path, final=True)
    await days(found, clock, 12)
    assert await read_back(await repository_in(store, clock, seed=9), second) == seen(tmp_path)
    assert (await verify(found)).is_sound


async def test_the_mark_of_a_missing_pack_goes_after_two_days(
    found: Repository, store: AgingStore, clock: Calendar
) -> None:
    await store.put_new(names.mark(PackId(bytes(16))), mark.encode([]))
    clock.pass_by(hours=47)
    await collect(found)
    assert await keys_in(store, names.MARKS)
    clock.pass_by(hours=2)
    await collect(found)
    assert not await keys_in(store, names.MARKS)


async def days(found: Repository, clock: Calendar, count: int) -> list[Collected]:
    """Collect twice a day."""
    outcomes = []
    for _ in range(2 * count):
        outcomes.append(await collect(found))
        clock.pass_by(hours=13)
    return [*outcomes[::2]]


async def spoil(
    found: Repository,
    store: AgingStore,
    record: Record,
    at: int,
    *,
    kind: PackKind = PackKind.DATA,
    is_understood: bool = True,
) -> PackFacts:
    """Damage a pack that a generation has of a kind, and mark it."""
    index = await found.index(record.place)
    pack = next(pack for pack in index.packs if pack.kind is kind)
    await flip(store, key_of(pack), at)
    good = await whole(found, record, pack)
    bad = [chunk for chunk, place in index.items() if place.pack == pack and chunk not in good]
    await store.put_new(names.mark(pack.pack_id), mark.encode(bad) if is_understood else b"{}")
    return pack


async def whole(found: Repository, record: Record, pack: PackFacts) -> list[ChunkId]:
    source = await found.chunks(record)
    good = []
    for chunk, place in (await found.index(record.place)).items():
        if place.pack == pack:
            try:
                await source.read(chunk)
            except DamagedError:
                continue
            good.append(chunk)
    return good


async def flip(store: AgingStore, key: str, at: int) -> None:
    data = bytearray(await store.get(key))
    data[at] ^= 1
    await store.replace(key, bytes(data))


def key_of(pack: PackFacts) -> str:
    return names.pack(pack.kind, pack.pack_id)
