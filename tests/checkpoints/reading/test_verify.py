"""What is damaged is named, by its object; and what it costs, by path and generation."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec
import pytest

from checkpoints.format import index as index_format, mark, names, record as record_format
from checkpoints.format.ids import Generation, PackId, chunk_id
from checkpoints.format.names import Place
from checkpoints.reading.verified import BadPack
from checkpoints.reading.verify import verify
from checkpoints.tree.entry import Kind
from tests.support.every_kind import every_kind, file, node
from tests.support.packed import Packing

if TYPE_CHECKING:
    from checkpoints.format.record import Record
    from checkpoints.reading.verified import Verified
    from checkpoints.repository import Repository

SMALL, LARGE = b"small" * 100, random.Random(5).randbytes(9000)


async def two_generations(repository: Repository) -> tuple[Record, Record]:
    """The second shares a file with the first, and the first has one more."""
    first, second = Packing(), Packing()
    one = await first.commit(
        repository, {b"a": file(first.file(SMALL)), b"b": file(first.file(LARGE))}
    )
    two = await second.commit(
        repository,
        {b"a": file(second.file(SMALL)), b"c": file(second.file(b"new" * 90))},
        generation=2,
    )
    return one, two


async def keys(repository: Repository, prefix: str) -> list[str]:
    return [listed.key async for listed in repository.storage.list(prefix)]


async def replace(repository: Repository, key: str, data: bytes) -> None:
    await repository.storage.delete(key)
    await repository.storage.put_new(key, data)


async def flip(repository: Repository, key: str, at: int) -> None:
    data = bytearray(await repository.storage.get(key))
    data[at] ^= 1
    await replace(repository, key, bytes(data))


async def pack_with(repository: Repository, raw: bytes) -> tuple[str, int]:
    """Return the pack that has a chunk that isn't compressed, and where."""
    for key in await keys(repository, "packs/"):
        at = (await repository.storage.get(key)).find(raw)
        if at >= 0:
            return key, at
    raise AssertionError


def lost(found: Verified) -> dict[int, list[bytes]]:
    return {
        losses.place.generation: [loss.path for loss in losses.named] for losses in found.losses
    }


async def test_what_is_whole_is_found_whole(repository: Repository) -> None:
    packing = Packing()
    await packing.commit(repository, every_kind(packing), checkpoint=9)
    await two_generations(repository)
    found = await verify(repository)
    assert found.is_sound
    assert found.packs_read == found.packs == 6
    assert found.generations == 3
    assert not found.foreign


async def test_a_changed_chunk_costs_the_files_that_have_it(repository: Repository) -> None:
    await two_generations(repository)
    key, at = await pack_with(repository, LARGE)
    await flip(repository, key, at + 100)
    found = await verify(repository)
    assert [damage.key for damage in found.damages] == [key]
    assert lost(found) == {1: [b"b"]}
    assert key in found.losses[0].named[0].reason


async def test_a_pack_without_its_table_costs_nothing_that_indexes_find(
    repository: Repository,
) -> None:
    await two_generations(repository)
    key, _ = await pack_with(repository, LARGE)
    await flip(repository, key, -1)
    found = await verify(repository)
    assert [damage.key for damage in found.damages] == [key]
    assert "table" in found.damages[0].what
    assert lost(found) == {}


async def test_a_pack_cut_off_costs_what_was_behind(repository: Repository) -> None:
    await two_generations(repository)
    key, at = await pack_with(repository, LARGE)
    await replace(repository, key, (await repository.storage.get(key))[: at + 50])
    found = await verify(repository)
    assert [damage.key for damage in found.damages] == [key]
    assert lost(found) == {1: [b"b"]}


async def test_a_missing_pack_is_named(repository: Repository) -> None:
    await two_generations(repository)
    key, _ = await pack_with(repository, LARGE)
    await repository.storage.delete(key)
    found = await verify(repository)
    assert [(damage.key, damage.what) for damage in found.damages] == [(key, "is missing")]
    assert lost(found) == {1: [b"a", b"b"]}


async def test_damage_to_a_tree_costs_its_names(repository: Repository) -> None:
    one, _ = await two_generations(repository)
    source = await repository.chunks(one)
    assert one.tree is not None
    place = source.place(one.tree.root_id)
    key = names.pack(place.pack.kind, place.pack.pack_id)
    await flip(repository, key, place.offset + 3)
    for share in (1, 0.01):  # trees are read in full, whatever is drawn of the packs
        found = await verify(repository, share=share, rng=random.Random(1))
        assert [damage.key for damage in found.damages] == [key]
        assert lost(found) == {1: [b""]}
        assert found.losses[0].named[0].names


@pytest.mark.parametrize("change", ["flip", "delete"])
async def test_a_damaged_index_costs_the_generations_that_need_it(
    repository: Repository, change: str
) -> None:
    one, _ = await two_generations(repository)
    key = names.index(one.place)
    if change == "flip":
        await flip(repository, key, 200)
    else:
        await repository.storage.delete(key)
    found = await verify(repository)
    assert [damage.key for damage in found.damages] == [key]
    assert lost(found) == {1: [b""]}
    assert found.losses[0].named[0].names == 3


async def test_a_damaged_record_costs_no_other_generation(repository: Repository) -> None:
    one, _ = await two_generations(repository)
    await flip(repository, names.record(one.place), 30)
    found = await verify(repository)
    assert [damage.key for damage in found.damages] == [names.record(one.place)]
    assert found.generations == 1
    assert lost(found) == {}


async def test_an_index_that_points_elsewhere_is_named(repository: Repository) -> None:
    one, _ = await two_generations(repository)
    index = await repository.index(one.place)
    places = dict(index.items())
    chunk, place = next((c, p) for c, p in places.items() if p.raw_bytes == len(LARGE))
    places[chunk] = index_format.ChunkPlace(
        place.pack, place.offset + 1, place.stored_bytes, place.raw_bytes, place.codec
    )
    await replace(
        repository,
        names.index(one.place),
        index_format.build(places, index_format.name_of(one.place)),
    )
    found = await verify(repository)
    assert [damage.key for damage in found.damages] == [names.index(one.place)]


async def test_a_file_whose_chunk_its_own_indexes_do_not_have_is_lost(
    repository: Repository,
) -> None:
    """Another generation with the same nodes has better indexes; that doesn't help this one."""
    one, _ = await two_generations(repository)
    places = {
        chunk: place
        for chunk, place in (await repository.index(one.place)).items()
        if place.raw_bytes != len(LARGE)
    }
    lone = Place(one.checkpoint_id, Generation(7))
    await repository.storage.put_new(
        names.index(lone), index_format.build(places, index_format.name_of(lone))
    )
    made = msgspec.structs.replace(
        one, generation=lone.generation, indexes=(record_format.PlaceField.of(lone),)
    )
    await repository.storage.put_new(names.record(lone), record_format.encode(made))
    found = await verify(repository)
    assert lost(found) == {7: [b"b"]}
    assert [damage.key for damage in found.damages] == [names.index(lone)]
    assert "doesn't have chunk" in found.losses[0].named[0].reason


async def test_a_sample_is_drawn_by_seed(repository: Repository) -> None:
    for number in range(1, 11):
        packing = Packing()
        await packing.commit(
            repository, {b"a": file(packing.file(b"%d" % number * 99))}, checkpoint=number
        )
    key = (await keys(repository, "packs/"))[4]
    await flip(repository, key, 3)
    seeds = range(12)
    seen = [
        bool((await verify(repository, share=0.25, rng=random.Random(s))).damages) for s in seeds
    ]
    again = [
        bool((await verify(repository, share=0.25, rng=random.Random(s))).damages) for s in seeds
    ]
    assert seen == again
    assert any(seen)
    assert not all(seen)


async def test_names_below_what_is_no_folder_are_lost(repository: Repository) -> None:
    packing = Packing()
    entries = {b"a": file(b"1"), b"a/b": file(b"2"), b"none/c": file(b"3"), b"d": file(b"4")}
    await packing.commit(repository, entries)
    found = await verify(repository)
    assert lost(found) == {1: [b"a", b"none"]}
    assert "is no folder" in found.losses[0].named[0].reason


async def test_what_repair_needs_to_know_is_told(repository: Repository) -> None:
    await two_generations(repository)
    assert not (await verify(repository)).is_repairable
    key, at = await pack_with(repository, LARGE)
    await flip(repository, key, at)
    found = await verify(repository)
    parsed = names.parse_pack(key)
    assert parsed is not None
    kind, pack_id = parsed
    assert found.is_repairable
    assert found.bad_packs == {pack_id: BadPack(kind, frozenset({chunk_id(LARGE)}))}
    await repository.storage.put_new(names.mark(pack_id), mark.encode([chunk_id(LARGE)]))
    found = await verify(repository)
    assert found.marked == {pack_id}
    assert not found.foreign
    await repository.storage.delete(key)
    assert (await verify(repository)).bad_packs == {pack_id: BadPack(kind, frozenset())}


async def test_a_mark_that_is_damaged_is_named(repository: Repository) -> None:
    key = names.mark(PackId(bytes(16)))
    await repository.storage.put_new(key, mark.encode([])[:-1])
    assert [damage.key for damage in (await verify(repository)).damages] == [key]


async def test_an_index_of_a_checkpoint_without_records_is_noted(repository: Repository) -> None:
    """It may be written just now; or its records were deleted behind everybody's back."""
    one, two = await two_generations(repository)
    assert not (await verify(repository)).without_records
    for record in (one, two):
        await repository.storage.delete(names.record(record.place))
    found = await verify(repository)
    assert found.without_records == [one.checkpoint_id]
    assert found.is_sound


async def test_foreign_names_are_listed_and_left_alone(repository: Repository) -> None:
    await repository.storage.put_new("packs/notes.txt", b"mine")
    found = await verify(repository)
    assert found.foreign == ["packs/notes.txt"]
    assert found.is_sound


async def test_damage_in_one_folder_of_a_large_tree_costs_that_part(
    repository: Repository,
) -> None:
    packing = Packing()
    entries = {b"d": node(Kind.FOLDER)}
    entries |= {b"d/%05d" % n: file(b"%d" % n * 20) for n in range(4000)}
    record = await packing.commit(repository, entries)
    source = await repository.chunks(record)
    sizes = {chunk: len(raw) for chunk, raw in list(packing.chunks.values())[1].items()}
    assert len(sizes) > 3
    assert record.tree is not None
    leaf = next(chunk for chunk in sizes if chunk != record.tree.root_id)
    place = source.place(leaf)
    await flip(repository, names.pack(place.pack.kind, place.pack.pack_id), place.offset + 5)
    found = await verify(repository)
    (losses,) = found.losses
    assert losses.count == 1
    assert 100 < losses.named[0].names < 3900
