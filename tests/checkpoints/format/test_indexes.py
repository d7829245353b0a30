"""An index finds what is in it and nothing else, and no other bytes pass for it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, strategies as st

from checkpoints.format.codec import CHUNK_BYTES_MAX
from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import CheckpointId, ChunkId, Generation, PackId
from checkpoints.format.index import (
    ChunkPlace,
    Index,
    PackFacts,
    build,
    merged,
    name_of,
    name_of_moved,
)
from checkpoints.format.names import Place
from checkpoints.format.pack import OBJECT_BYTES_MAX, PackKind

NAME = name_of(Place(CheckpointId("0123456789abcdef"), Generation(7)))
ids = st.binary(min_size=32, max_size=32).map(ChunkId)
packs = st.builds(
    PackFacts,
    st.binary(min_size=16, max_size=16).map(PackId),
    st.sampled_from(PackKind),
    st.integers(0, OBJECT_BYTES_MAX),
)


@st.composite
def _places(draw: st.DrawFn) -> ChunkPlace:
    pack = draw(packs)
    offset = draw(st.integers(0, pack.object_bytes))
    stored = draw(st.integers(0, pack.object_bytes - offset))
    raw = draw(st.integers(0, CHUNK_BYTES_MAX))
    return ChunkPlace(pack, offset, stored, raw, draw(st.integers(0, 1)))


places = _places()
tables = st.dictionaries(ids, places, max_size=20)


@given(tables, st.lists(ids, max_size=5))
def test_everything_is_found_and_nothing_else(
    table: dict[ChunkId, ChunkPlace], others: list[ChunkId]
) -> None:
    index = Index(build(table))
    assert len(index) == len(table)
    assert dict(index.items()) == table
    assert [chunk for chunk, _ in index.items()] == sorted(table)
    for chunk in (*table, *others):
        assert index.find(chunk) == table.get(chunk)
    assert set(index.packs) == {place.pack for place in table.values()}


def test_ids_that_are_not_spread_evenly_are_found_too() -> None:
    """Hashes are; whoever makes some up must not make look-ups fail."""
    pack = PackFacts(PackId(bytes(16)), PackKind.DATA, 4000)
    rng = random.Random(3)
    table = {
        ChunkId(bytes(24) + rng.randbytes(8)): ChunkPlace(pack, number, 1, 1, 0)
        for number in range(3000)
    } | {ChunkId(b"\xff" * 32): ChunkPlace(pack, 9, 9, 9, 0)}
    index = Index(build(table))
    assert all(index.find(chunk) == place for chunk, place in table.items())
    assert index.find(ChunkId(b"\x80" + bytes(31))) is None


@given(tables, st.data())
def test_any_flipped_bit_and_any_cut_is_damage(
    table: dict[ChunkId, ChunkPlace], choose: st.DataObject
) -> None:
    data = build(table, NAME)
    at = choose.draw(st.integers(0, len(data) - 1))
    flipped = bytearray(data)
    flipped[at] ^= 1 << choose.draw(st.integers(0, 7))
    with pytest.raises(DamagedError):
        Index(bytes(flipped), NAME)
    with pytest.raises(DamagedError):
        Index(data[:at], NAME)


def test_an_index_is_not_taken_for_another() -> None:
    data = build({}, NAME)
    assert len(Index(data, NAME)) == len(Index(data)) == 0
    for place in (("0123456789abcdef", 8), ("0123456789abcdee", 7)):
        other = name_of(Place(CheckpointId(place[0]), Generation(place[1])))
        with pytest.raises(DamagedError, match="another one"):
            Index(data, other)
    with pytest.raises(DamagedError, match="another one"):
        Index(build({}), name_of_moved(PackId(b"x" * 16)))


@given(st.lists(tables, max_size=4), st.data())
def test_of_a_chunk_in_several_the_first_place_counts(
    several: list[dict[ChunkId, ChunkPlace]], choose: st.DataObject
) -> None:
    known = sorted({place.pack.pack_id for table in several for place in table.values()})
    without = choose.draw(st.sets(st.sampled_from(known))) if known else set()
    expected: dict[ChunkId, ChunkPlace] = {}
    for table in reversed(several):
        expected |= {
            chunk: place for chunk, place in table.items() if place.pack.pack_id not in without
        }
    index = Index(merged((Index(build(table)) for table in several), without=without))
    assert dict(index.items()) == expected
    assert not {pack.pack_id for pack in index.packs} & without


def test_a_merged_index_has_the_same_bytes_as_one_made_at_once() -> None:
    rng = random.Random(4)
    facts = [PackFacts(PackId(rng.randbytes(16)), PackKind.DATA, number) for number in range(3)]
    tables = [
        {ChunkId(rng.randbytes(32)): ChunkPlace(pack, 1, 2, 3, 1) for _ in range(500)}
        for pack in sorted(facts, key=lambda pack: pack.pack_id)
    ]
    at_once = build({chunk: place for table in tables for chunk, place in table.items()})
    assert merged(Index(build(table)) for table in tables) == at_once


@pytest.mark.parametrize(
    "place",
    [
        pytest.param((1 << 20, (1 << 20) - 9, 10, 10), id="beyond its pack"),
        pytest.param((1 << 20, 0, 10, CHUNK_BYTES_MAX + 1), id="larger than a chunk"),
    ],
)
def test_no_room_is_made_for_what_no_pack_could_hold(place: tuple[int, int, int, int]) -> None:
    object_bytes, offset, stored, raw = place
    pack = PackFacts(PackId(bytes(16)), PackKind.DATA, object_bytes)
    chunk = ChunkId(bytes(32))
    index = Index(build({chunk: ChunkPlace(pack, offset, stored, raw, 0)}))
    with pytest.raises(DamagedError, match="no pack could hold"):
        index.find(chunk)


def test_no_pack_is_larger_than_packs_are() -> None:
    pack = PackFacts(PackId(bytes(16)), PackKind.DATA, OBJECT_BYTES_MAX + 1)
    with pytest.raises(DamagedError, match="too large"):
        Index(build({ChunkId(bytes(32)): ChunkPlace(pack, 0, 1, 1, 0)}))
