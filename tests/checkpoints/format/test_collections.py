"""What a collection found comes back, and nothing else passes for it."""

from __future__ import annotations

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given, strategies as st

from checkpoints.format import names
from checkpoints.format.collection import Findings, encode, parse
from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import PACK_ID_BYTES, CheckpointId, Generation, PackId
from checkpoints.format.names import Place

PACK_IDS = st.binary(min_size=PACK_ID_BYTES, max_size=PACK_ID_BYTES).map(PackId)
INDEXES = st.one_of(
    PACK_IDS.map(names.moved),
    st.builds(
        lambda digits, number: names.index(Place(CheckpointId(digits), Generation(number))),
        st.text("0123456789abcdef", min_size=16, max_size=16),
        st.integers(1, 9_999_999_999),
    ),
)
FINDINGS = st.builds(
    Findings,
    packs=st.frozensets(PACK_IDS, max_size=4),
    indexes=st.frozensets(INDEXES, max_size=4),
)


@given(FINDINGS)
def test_what_was_found_comes_back(findings: Findings) -> None:
    assert parse(encode(findings)) == findings


@given(FINDINGS, st.data())
def test_a_flipped_bit_or_a_cut_is_damage(findings: Findings, choose: st.DataObject) -> None:
    data = encode(findings)
    at = choose.draw(st.integers(0, len(data) - 1))
    flipped = bytearray(data)
    flipped[at] ^= 1 << choose.draw(st.integers(0, 7))
    for wrong in (bytes(flipped), data[:at], data + b"\n"):
        with pytest.raises(DamagedError):
            parse(wrong)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"format": 2, "packs": [], "indexes": []}, "format 2"),
        ({"format": 1, "packs": []}, "can't be understood"),
        ({"format": 1, "packs": ["xy"], "indexes": []}, "can't be understood"),
        ({"format": 1, "packs": ["ab"], "indexes": []}, "no pack"),
        ({"format": 1, "packs": [], "indexes": ["format.json"]}, "no index"),
    ],
    ids=str,
)
def test_whole_lines_that_make_no_sense_are_damage(wrong: object, problem: str) -> None:
    line = msgspec.json.encode(wrong)
    with pytest.raises(DamagedError, match=problem):
        parse(line + b"\n" + blake3(line).hexdigest().encode() + b"\n")
