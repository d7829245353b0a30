"""Which chunks of a pack were bad comes back, and nothing else passes for it."""

from __future__ import annotations

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given, strategies as st

from checkpoints.format import names
from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import CHUNK_ID_BYTES, ChunkId, PackId
from checkpoints.format.mark import encode, parse

CHUNKS = st.frozensets(
    st.binary(min_size=CHUNK_ID_BYTES, max_size=CHUNK_ID_BYTES).map(ChunkId), max_size=4
)


@given(CHUNKS)
def test_what_was_bad_comes_back(chunks: frozenset[ChunkId]) -> None:
    assert parse(encode(chunks)) == chunks


@given(CHUNKS, st.data())
def test_a_flipped_bit_or_a_cut_is_damage(
    chunks: frozenset[ChunkId], choose: st.DataObject
) -> None:
    data = encode(chunks)
    at = choose.draw(st.integers(0, len(data) - 1))
    flipped = bytearray(data)
    flipped[at] ^= 1 << choose.draw(st.integers(0, 7))
    for wrong in (bytes(flipped), data[:at], data + b"\n"):
        with pytest.raises(DamagedError):
            parse(wrong)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"format": 2, "chunks": []}, "format 2"),
        ({"format": 1}, "can't be understood"),
        ({"format": 1, "chunks": ["xy"]}, "can't be understood"),
        ({"format": 1, "chunks": ["ab"]}, "no chunk"),
    ],
    ids=str,
)
def test_whole_lines_that_make_no_sense_are_damage(wrong: object, problem: str) -> None:
    line = msgspec.json.encode(wrong)
    with pytest.raises(DamagedError, match=problem):
        parse(line + b"\n" + blake3(line).hexdigest().encode() + b"\n")


def test_a_mark_is_named_by_its_pack() -> None:
    pack_id = PackId(bytes(range(16)))
    assert names.parse_mark(names.mark(pack_id)) == pack_id
    assert names.parse_mark(names.tombstone(pack_id)) is None
    assert names.parse_mark("damaged/notes") is None
