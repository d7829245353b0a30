"""What is damaged isn't relied on any more, and what is left is found again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from checkpoints.collecting.collector import collect
from checkpoints.format import mark, names
from checkpoints.format.pack import PackKind
from checkpoints.reading.verify import verify
from checkpoints.repairing.repair import repair
from checkpoints.writing.sealing import seal
from tests.support.checkpoint_rig import OTHER, fill, read_back, seen, writer
from tests.support.collecting_store import Calendar, keys_in, repository_in
from tests.support.damaged_store import Left, everything, furnish, move

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from checkpoints.format.record import Record
    from checkpoints.repository import Repository
    from tests.support.collecting_store import AgingStore


async def test_what_is_whole_needs_nothing(found: Repository, store: AgingStore) -> None:
    await furnish(found)
    before = await everything(found)
    done = await repair(found)
    assert not done.has_work
    assert await everything(found) == before


@pytest.mark.parametrize("kind", PackKind)
async def test_a_damaged_pack_gets_a_mark_and_the_next_write_is_whole(
    found: Repository, store: AgingStore, tmp_path: Path, kind: PackKind
) -> None:
    """The way out: repair, and write again."""
    fill(tmp_path, 1)
    first = await (await writer(found)).write(tmp_path, final=True)
    key = await spoil_pack(found, store, first, kind)
    assert (await repair(found, dry_run=True)).marked == [key]
    assert not await keys_in(store, names.MARKS)
    assert (await repair(found)).marked == [key]
    (marked,) = await keys_in(store, names.MARKS)
    assert len(mark.parse(await store.get(marked))) == 1
    assert not (await repair(found)).marked
    record = await (await writer(found, OTHER)).write(tmp_path, final=True)
    fresh = await repository_in(store, Calendar(), seed=9)
    assert await read_back(fresh, record) == seen(tmp_path)


async def test_what_was_stored_anew_makes_the_damaged_generation_whole(
    found: Repository, store: AgingStore, tmp_path: Path
) -> None:
    fill(tmp_path, 1)
    first = await (await writer(found)).write(tmp_path, final=True)
    await spoil_pack(found, store, first, PackKind.DATA)
    await repair(found)
    await (await writer(found, OTHER)).write(tmp_path, final=True)
    assert (await repair(found)).found_chunks == 1
    fresh = await repository_in(store, Calendar(), seed=9)
    assert await read_back(fresh, first) == seen(tmp_path)
    assert not (await verify(fresh)).losses


async def test_a_missing_pack_gets_a_mark(
    found: Repository, store: AgingStore, tmp_path: Path
) -> None:
    """So a run that goes on stores again what was in there."""
    fill(tmp_path, 1)
    one = await writer(found)
    first = await one.write(tmp_path)
    key = await pack_of(found, first, PackKind.DATA)
    await store.delete(key)
    assert (await repair(found)).marked == [key]
    record = await one.write(tmp_path, changes=[])
    assert await read_back(found, record) == seen(tmp_path)


@pytest.mark.parametrize("damage", ["flip", "cut", "missing"])
@pytest.mark.parametrize("is_running", [False, True])
async def test_an_index_is_made_anew_of_the_packs(
    found: Repository, store: AgingStore, tmp_path: Path, damage: str, is_running: bool
) -> None:
    one = await writer(found)
    contents = {}
    for number in (1, 2, 3):
        (tmp_path / f"more{number}").write_bytes(bytes([number]) * 5000)
        fill(tmp_path, number)
        record = await one.write(tmp_path, final=number == 3 and not is_running)
        contents[record] = seen(tmp_path)
    for record in contents:
        await spoil(store, names.index(record.place), damage)
    assert await collect_is_blocked(found)
    assert len((await verify(found)).losses) == 3
    done = await repair(found)
    assert len(done.rebuilt) == 3
    assert not done.hopeless
    assert await repaired_is_sound(found, contents)
    assert not await collect_is_blocked(found)


async def test_generations_that_share_an_index_all_find_what_they_need(
    found: Repository, store: AgingStore, tmp_path: Path
) -> None:
    fill(tmp_path, 1)
    one = await writer(found)
    first = await one.write(tmp_path)
    contents = {first: seen(tmp_path)}
    (tmp_path / "file0").unlink()
    second = await one.write(tmp_path)
    contents[second] = seen(tmp_path)
    await spoil(store, names.index(first.place), "flip")
    await repair(found)
    assert await repaired_is_sound(found, contents)


async def test_an_index_of_which_nothing_is_left_stays_as_it_is(
    found: Repository, store: AgingStore, tmp_path: Path
) -> None:
    fill(tmp_path, 1)
    record = await (await writer(found)).write(tmp_path, final=True)
    key = names.index(record.place)
    await spoil(store, key, "flip")
    for kind in PackKind:
        for pack in await keys_in(store, "packs/" if kind is PackKind.DATA else "meta/"):
            await store.delete(pack)
    before = await store.get(key)
    done = await repair(found)
    assert done.hopeless == [key]
    assert await store.get(key) == before


async def test_where_nodes_are_lost_all_that_may_be_needed_is_listed(
    found: Repository, store: AgingStore, tmp_path: Path
) -> None:
    """Whoever brings the pack back has all again."""
    fill(tmp_path, 1)
    record = await (await writer(found)).write(tmp_path, final=True)
    tree = await pack_of(found, record, PackKind.TREE)
    chunks = {
        chunk
        for chunk, place in (await found.index(record.place)).items()
        if place.pack.kind is PackKind.DATA
    }
    await spoil(store, names.index(record.place), "flip")
    await store.delete(tree)
    assert (await repair(found)).rebuilt == {names.index(record.place): len(chunks)}
    assert {chunk for chunk, _ in (await found.index(record.place)).items()} == chunks


async def test_a_damaged_list_of_moved_chunks_is_made_anew(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    """Not at once: a pack that no index lists may be somebody's who writes for the first time."""
    fill(tmp_path, 1)
    record = await (await writer(found)).write(tmp_path, final=True)
    await move(found, (tmp_path / "file0").read_bytes()[:1000])
    (key,) = await keys_in(store, names.MOVED)
    await spoil(store, key, "flip")
    done = await repair(found)
    assert (done.found_chunks, done.removed) == (0, [])
    assert done.withheld_chunks > 1
    clock.pass_by(hours=25)
    fresh = await repository_in(store, clock, seed=9)
    done = await repair(fresh)
    assert done.removed == [key]
    assert done.found_chunks > 1
    assert await repaired_is_sound(fresh, {record: seen(tmp_path)})
    assert not await collect_is_blocked(fresh)


@pytest.mark.parametrize("damage", ["none", "flip", "missing"])
async def test_what_a_running_writer_may_delete_is_told_to_nobody(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path, damage: str
) -> None:
    """Others would rely on it; once the checkpoint is sealed, they may."""
    fill(tmp_path, 1)
    first = await (await writer(found)).write(tmp_path, final=True)
    await spoil_pack(found, store, first, PackKind.DATA)
    await repair(found)
    other = await (await writer(found, OTHER)).write(tmp_path)
    if damage != "none":
        await spoil(store, names.index(other.place), damage)
    clock.pass_by(hours=48)
    done = await repair(found)
    assert (done.found_chunks, done.withheld_chunks) == (0, 1)
    await seal(found, OTHER, run_number=2)
    assert (await repair(found)).found_chunks == 1
    assert not (await verify(found)).losses


@pytest.mark.parametrize("damage", ["flip", "cut", "missing"])
async def test_whatever_is_damaged_nothing_that_can_be_read_goes(
    found: Repository, store: AgingStore, clock: Calendar, damage: str
) -> None:
    """Each object of a repository in turn: afterwards as much can be read as before, or more."""
    await furnish(found)
    clock.pass_by(hours=30)
    for key in sorted(await keys_in(store)):
        if key == names.FORMAT or names.parse_collection(key):
            continue
        copy = await store.copy()
        await spoil(copy, key, damage)
        spoilt = await repository_in(copy, clock, seed=5)
        before = Left(await everything(spoilt))
        await repair(spoilt)
        after = Left(await everything(spoilt))
        for place, paths in before.generations.items():
            for path, content in paths.items():
                if content is not None:
                    assert after.generations[place][path] == content, (key, place, path)
        if names.parse_index(key) or names.parse_moved(key):
            assert not (await verify(spoilt)).losses, key
        again = await repair(spoilt)
        assert not again.has_work, key


async def pack_of(found: Repository, record: Record, kind: PackKind) -> str:
    packs = (await found.index(record.place)).packs
    return next(names.pack(kind, pack.pack_id) for pack in packs if pack.kind is kind)


async def spoil_pack(found: Repository, store: AgingStore, record: Record, kind: PackKind) -> str:
    key = await pack_of(found, record, kind)
    await spoil(store, key, "flip", 0)
    return key


async def spoil(store: AgingStore, key: str, damage: str, at: int = -1) -> None:
    data = bytearray(await store.get(key))
    match damage:
        case "flip":
            data[at] ^= 1
            await store.replace(key, bytes(data))
        case "cut":
            await store.replace(key, bytes(data[: len(data) // 2]))
        case _:
            await store.delete(key)


async def collect_is_blocked(found: Repository) -> bool:
    return (await collect(found, dry_run=True)).is_blocked


async def repaired_is_sound(found: Repository, contents: Mapping[Record, object]) -> bool:
    assert (await verify(found)).is_sound
    for record, content in contents.items():
        assert await read_back(found, record) == content
    return True
