"""A pack explains itself, and no other bytes pass for it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, strategies as st

from checkpoints.format import codec, pack
from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import chunk_id, new_pack_id
from checkpoints.format.pack import TRAILER_BYTES, PackEntry, PackKind

PACK_ID = new_pack_id(random.Random(1))
contents = st.lists(st.binary(max_size=3000), max_size=8)


def packed(chunks: list[bytes], kind: PackKind = PackKind.DATA) -> tuple[bytes, list[PackEntry]]:
    body, entries = b"", []
    for raw in chunks:
        how, stored = codec.encode(raw)
        entries.append(PackEntry(chunk_id(raw), len(body), len(stored), len(raw), how))
        body += stored
    return body + pack.footer(kind, PACK_ID, entries), entries


def table_of(data: bytes) -> list[PackEntry]:
    trailer = pack.parse_trailer(data[-TRAILER_BYTES:], PACK_ID)
    end = trailer.table_offset + trailer.table_bytes
    return pack.parse_table(data[trailer.table_offset : end], trailer)


@given(contents, st.sampled_from(PackKind))
def test_what_was_packed_is_found(chunks: list[bytes], kind: PackKind) -> None:
    data, entries = packed(chunks, kind)
    trailer = pack.parse_trailer(data[-TRAILER_BYTES:], PACK_ID)
    assert (trailer.kind, trailer.pack_bytes) == (kind, len(data))
    assert table_of(data) == entries
    for raw, entry in zip(chunks, entries, strict=True):
        stored = data[entry.offset : entry.offset + entry.stored_bytes]
        found = codec.decode(
            stored, entry.codec, raw_bytes=entry.raw_bytes, expected=entry.chunk_id
        )
        assert found == raw


@given(contents, st.data())
def test_a_flipped_bit_is_damage_or_leaves_the_table_as_it_was(
    chunks: list[bytes], choose: st.DataObject
) -> None:
    data, entries = packed(chunks)
    start = entries[-1].offset + entries[-1].stored_bytes if entries else 0
    at = choose.draw(st.integers(start, len(data) - 1))
    flipped = bytearray(data)
    flipped[at] ^= 1 << choose.draw(st.integers(0, 7))
    try:
        found = table_of(bytes(flipped))
    except DamagedError:
        return
    assert found == entries  # a bit of the kind or of the padding


@given(contents, st.data())
def test_a_cut_pack_is_damage(chunks: list[bytes], choose: st.DataObject) -> None:
    data, _ = packed(chunks)
    cut = data[: choose.draw(st.integers(0, len(data) - 1))]
    with pytest.raises(DamagedError):
        table_of(cut)


def test_another_pack_s_name_is_damage() -> None:
    data, _ = packed([b"content"])
    with pytest.raises(DamagedError, match="by its own account"):
        pack.parse_trailer(data[-TRAILER_BYTES:], new_pack_id(random.Random(2)))


def test_chunks_that_overlap_are_damage() -> None:
    raw = b"content"
    entries = [PackEntry(chunk_id(raw), at, 7, 7, 0) for at in (0, 3)]
    data = raw + raw + pack.footer(PackKind.DATA, PACK_ID, entries)
    with pytest.raises(DamagedError):
        table_of(data)


def test_a_trailer_of_something_else_is_damage() -> None:
    data, _ = packed([b"content"])
    good = data[-TRAILER_BYTES:]
    assert good[:6] == b"STPK\1\1"
    for wrong, problem in (
        (good[1:], "shorter"),
        (b"PACK" + good[4:], "no pack"),
        (good[:4] + b"\2" + good[5:], "version 2"),
        (good[:5] + b"\3" + good[6:], "unknown kind 3"),
        (good[:8] + b"\xff\xff\xff\x7f" + good[12:], "larger"),
    ):
        with pytest.raises(DamagedError, match=problem):
            pack.parse_trailer(wrong, PACK_ID)


def test_chunks_that_end_before_the_table_are_damage() -> None:
    raw = b"content"
    footer = pack.footer(PackKind.DATA, PACK_ID, [PackEntry(chunk_id(raw), 0, 7, 7, 0)])
    table, trailer = footer[:-TRAILER_BYTES], bytearray(footer[-TRAILER_BYTES:])
    assert trailer[12:16] == b"\7\0\0\0"
    trailer[12] = 9
    with pytest.raises(DamagedError, match="don't end where"):
        table_of(raw + b"\0\0" + table + bytes(trailer))
