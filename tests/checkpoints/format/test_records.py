"""Records and names: what is written is read, and nothing that isn't whole is believed."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given, strategies as st

from checkpoints.format import names, parameters, record
from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import (
    CheckpointId,
    Generation,
    PackId,
    new_checkpoint_id,
    parse_checkpoint_id,
)
from checkpoints.format.names import Place
from checkpoints.format.pack import PackKind
from checkpoints.format.record import PlaceField, Record, TreeField

CHECKPOINT = new_checkpoint_id(random.Random(1))
PLACE = Place(CHECKPOINT, Generation(7))
COMMIT = Record(
    kind="generation",
    checkpoint_id=CHECKPOINT,
    generation=Generation(7),
    run_number=3,
    writer="0123456789abcdef",
    created_at=datetime(2026, 1, 2, tzinfo=UTC),
    parent=PlaceField(checkpoint_id=CHECKPOINT, generation=Generation(6)),
    tree=TreeField(root="ab" * 32, root_bytes=100, entries=5, bytes=1000),
    indexes=(PlaceField.of(PLACE),),
)
SEAL = Record(
    kind="seal",
    checkpoint_id=CHECKPOINT,
    generation=Generation(7),
    run_number=4,
    writer="0123456789abcdef",
    created_at=datetime(2026, 1, 2, tzinfo=UTC),
)


@pytest.mark.parametrize("written", [COMMIT, SEAL])
def test_a_record_comes_back(written: Record) -> None:
    assert record.parse(record.encode(written), PLACE) == written


@given(st.data())
def test_a_flipped_bit_or_a_cut_is_damage(choose: st.DataObject) -> None:
    data = record.encode(COMMIT)
    at = choose.draw(st.integers(0, len(data) - 1))
    flipped = bytearray(data)
    flipped[at] ^= 1 << choose.draw(st.integers(0, 7))
    for wrong in (bytes(flipped), data[:at]):
        with pytest.raises(DamagedError):
            record.parse(wrong, PLACE)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": 2}, "has format 2"),
        ({"generation": 8}, "is that of"),
        ({"tree": None}, "has no tree"),
        ({"kind": "seal"}, "seal with a tree"),
        ({"runNumber": "x"}, "can't be understood"),
        ({"tree": {"root": "zz", "rootBytes": 1, "entries": 1, "bytes": 1}}, "is wrong"),
        ({"tree": {"root": "aa", "rootBytes": 1, "entries": 1, "bytes": 1}}, "without a root"),
        ({"indexes": [{"checkpointId": "../../x", "generation": 1}]}, "no checkpoint id"),
        ({"indexes": [{"checkpointId": "0" * 16, "generation": 0}]}, "has the generation 0"),
        ({"parent": {"checkpointId": "0" * 16, "generation": 10**10}}, "has the generation"),
        ({"base": {"root": "aa", "rootBytes": 1, "entries": 1, "bytes": 1}}, "without a root"),
        ({"volume": 1 << 16}, "has the volume 65536"),
        ({"volume": -1}, "has the volume -1"),
        ({"createdAt": "2026-01-01T00:00:00"}, "time zone"),
    ],
)
def test_a_record_that_says_something_impossible_is_damage(
    change: dict[str, object], sentence: str
) -> None:
    fields = msgspec.json.decode(record.encode(COMMIT).partition(b"\n")[0])
    line = msgspec.json.encode({**fields, **change})
    with pytest.raises(DamagedError, match=sentence):
        record.parse(line + b"\n" + blake3(line).hexdigest().encode() + b"\n", PLACE)


def test_a_later_version_s_additions_are_no_obstacle() -> None:
    fields = msgspec.json.decode(record.encode(COMMIT).partition(b"\n")[0])
    line = msgspec.json.encode({**fields, "colour": "blue"})
    found = record.parse(line + b"\n" + blake3(line).hexdigest().encode() + b"\n", PLACE)
    assert found == COMMIT


def test_names_are_parsed_back() -> None:
    pack_id = PackId(bytes(range(16)))
    for kind in PackKind:
        assert names.parse_pack(names.pack(kind, pack_id)) == (kind, pack_id)
    assert names.parse_record(names.record(PLACE)) == PLACE
    assert names.parse_index(names.index(PLACE)) == PLACE
    assert names.parse_moved(names.moved(pack_id)) == pack_id
    assert names.parse_tombstone(names.tombstone(pack_id)) == pack_id
    assert names.parse_collection(names.collection(1_700_000_000_000)) == 1_700_000_000_000


@pytest.mark.parametrize(
    "key",
    [
        "packs/00/ffffffffffffffffffffffffffffffff",
        "packs/ff/FFffffffffffffffffffffffffffffff",
        "packs/ff/ffffffffffffffffffffffffffffffff.tmp",
        "checkpoints/0000000000000000/0000000000",
        "checkpoints/0000000000000000/1",
        "checkpoints/../0000000001",
        "index/moved/x",
        "",
    ],
)
def test_what_is_not_ours_has_no_meaning(key: str) -> None:
    parsers = (
        names.parse_pack,
        names.parse_record,
        names.parse_index,
        names.parse_moved,
        names.parse_tombstone,
        names.parse_collection,
    )
    assert [parse(key) for parse in parsers] == [None] * len(parsers)


def test_records_lie_in_the_order_of_their_generations() -> None:
    generations = [1, 9, 10, 11, 99, 100, 9_999_999_999]
    keys = [names.record(Place(CHECKPOINT, Generation(number))) for number in generations]
    assert keys == sorted(keys)


def test_checkpoint_ids_are_checked() -> None:
    assert parse_checkpoint_id("0123456789abcdef") == CheckpointId("0123456789abcdef")
    with pytest.raises(ValueError, match="16 digits"):
        parse_checkpoint_id("0123456789ABCDEF")


def test_parameters_come_back_and_a_newer_format_is_refused_first() -> None:
    assert parameters.parse(parameters.encode(parameters.Parameters())) == parameters.Parameters()
    with pytest.raises(parameters.UnknownFormatError, match="format 2"):
        parameters.parse(b'{"format": 2, "smallFileBytesMax": "of another type"}')
    with pytest.raises(DamagedError):
        parameters.parse(b"{")
