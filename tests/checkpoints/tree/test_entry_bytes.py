"""Entries come back from their bytes, and from no others."""

from __future__ import annotations

import re
import struct

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from checkpoints.format.codec import CHUNK_BYTES_MAX
from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import ChunkId
from checkpoints.tree.entry import (
    ATTRIBUTE_BYTES_MAX,
    ATTRIBUTES_BYTES_MAX,
    DELETION,
    ENTRY_BYTES_MAX,
    VOLUMES,
    Device,
    Entry,
    Extents,
    IndirectExtents,
    Inline,
    Kind,
    RefusedError,
    Target,
    deletion,
    inode_of,
    volume_of,
)
from checkpoints.tree.entry_bytes import decode, encode, file_bytes_at
from checkpoints.tree.extents import Extent, encode_references
from checkpoints.tree.keys import Key, key_of
from tests.support.trees import ENTRIES, file_entry

KEY = key_of(b"a/b")
START = 2 + len(KEY)
FIXED_BYTES = 44
CHUNK = ChunkId(bytes(range(32)))


def decoded(item: bytes, *, key: Key = KEY) -> Entry:
    return decode(item, 2 + len(key), len(item))


@settings(deadline=None, max_examples=500)
@given(ENTRIES)
def test_an_entry_comes_back_from_its_bytes(entry: Entry) -> None:
    item = encode(KEY, entry)
    assert decoded(item) == entry
    assert encode(KEY, decoded(item)) == item
    assert file_bytes_at(item, START) == entry.size_bytes
    around = b"xx" + item + b"yyyy"
    assert decode(around, 2 + START, 2 + len(item)) == entry


@settings(deadline=None)
@given(entry=ENTRIES, data=st.data())
def test_an_entry_cut_off_or_with_more_behind_it_is_damage(
    entry: Entry, data: st.DataObject
) -> None:
    item = encode(KEY, entry)
    cut = data.draw(st.integers(START, len(item) - 1))
    for end, available in ((cut, item), (cut, item[:cut]), (len(item) + 1, item + bytes(5))):
        with pytest.raises(DamagedError):
            decode(available, START, end)


@settings(deadline=None, max_examples=1000)
@given(entry=ENTRIES, data=st.data())
def test_a_wrong_byte_is_damage_or_another_valid_entry(entry: Entry, data: st.DataObject) -> None:
    item = bytearray(encode(KEY, entry))
    position = data.draw(st.integers(START, len(item) - 1))
    item[position] ^= data.draw(st.integers(1, 255))
    try:
        other = decoded(bytes(item))
    except DamagedError:
        return
    assert other != entry
    assert encode(KEY, other) == item


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_damage_or_an_entry(data: bytes) -> None:
    try:
        entry = decode(data, 0, len(data))
    except DamagedError:
        return
    assert encode(KEY, entry)[START:] == data


def test_the_bytes_are_those_of_the_format() -> None:
    entry = Entry(
        kind=Kind.FILE,
        mode=0o4755,
        user=1000,
        group=100,
        modified_ns=-1,
        changed_ns=5_000_000_006,
        inode=inode_of(3, 257),
        several_names=True,
        attributes=((b"user.a", b"xyz"),),
        content=Extents(size_bytes=12, extents=(Extent(None, 7), Extent(CHUNK, 5))),
    )
    assert encode(KEY, entry) == b"".join(
        [
            b"\3\0a\0b",
            bytes([1, 2 | 4]),
            struct.pack("<HII", 0o4755, 1000, 100),
            struct.pack("<qI", -1, 999_999_999),
            struct.pack("<qI", 5, 6),
            struct.pack("<IHH", 257, 0, 3),
            b"\1\0" + b"\6user.a" + b"\3\0\0\0xyz",
            struct.pack("<Q", 12) + b"\2\0\0\0",
            b"\0" + struct.pack("<Q", 7),
            b"\1" + CHUNK + b"\5\0\0\0",
        ]
    )
    small = Entry(kind=Kind.FILE, content=Inline(data=b"hi"))
    assert encode(KEY, small)[START:] == bytes([1, 8]) + bytes(42) + struct.pack("<Q", 2) + b"hi"
    listed = IndirectExtents(size_bytes=1 << 40, references=(Extent(CHUNK, 99),))
    moved = encode(KEY, Entry(kind=Kind.FILE, content=listed))[START:]
    assert moved[:2] == bytes([1, 16])
    assert moved[FIXED_BYTES:] == struct.pack("<QI", 1 << 40, 1) + CHUNK + struct.pack("<I", 99)
    link = Entry(kind=Kind.SYMBOLIC_LINK, content=Target(path=b"../x"))
    assert encode(KEY, link)[START + FIXED_BYTES :] == b"\4\0../x"
    device = Entry(kind=Kind.BLOCK_DEVICE, content=Device(major=8, minor=1))
    assert encode(KEY, device)[START + FIXED_BYTES :] == struct.pack("<II", 8, 1)
    opaque = Entry(kind=Kind.FOLDER, opaque=True)
    assert encode(KEY, opaque)[START:] == bytes([2, 1]) + bytes(42)
    assert encode(KEY, DELETION)[START:] == bytes([8]) + bytes(43)
    assert encode(KEY, deletion(7))[START:] == bytes([8]) + bytes(41) + b"\7\0"


def damaged(entry: Entry, at: int, wrong: bytes) -> bytes:
    """Return the entry's bytes with others at a place after the key."""
    item = bytearray(encode(KEY, entry))
    item[START + at : START + at + len(wrong)] = wrong
    return bytes(item)


FILE = file_entry(4)
SMALL = Entry(kind=Kind.FILE, content=Inline(data=b"hi"))
FOLDER = Entry(kind=Kind.FOLDER)
LINK = Entry(kind=Kind.SYMBOLIC_LINK, content=Target(path=b"ab"))
NAMED = Entry(kind=Kind.FIFO, attributes=((b"a", b""), (b"b", b"")))
DEVICE = Entry(kind=Kind.BLOCK_DEVICE, content=Device(major=8, minor=1))
REDIRECTED = Entry(kind=Kind.FIFO, attributes=((b"trusted.overlai.r", b"/etc"),))
MOVED = Entry(kind=Kind.FILE, content=IndirectExtents(size_bytes=9, references=(Extent(CHUNK, 9),)))
HOLE = Entry(kind=Kind.FILE, content=Extents(size_bytes=9, extents=(Extent(None, 9),)))


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(damaged(FOLDER, 0, b"\0"), id="no kind"),
        pytest.param(damaged(FOLDER, 0, b"\x09"), id="unknown kind"),
        pytest.param(damaged(FOLDER, 1, b"\x20"), id="unknown flag"),
        pytest.param(damaged(FOLDER, 1, b"\x04"), id="folder with several names"),
        pytest.param(damaged(FILE, 1, b"\x01"), id="opaque file"),
        pytest.param(damaged(SMALL, 1, b"\x18"), id="content in two places"),
        pytest.param(damaged(FOLDER, 2, b"\x00\x10"), id="mode"),
        pytest.param(damaged(FOLDER, 20, struct.pack("<I", 10**9)), id="nanoseconds"),
        pytest.param(damaged(FOLDER, 32, struct.pack("<I", 10**9)), id="changed nanoseconds"),
        pytest.param(damaged(DELETION, 2, b"\1"), id="deletion with a mode"),
        pytest.param(damaged(DELETION, 36, b"\1"), id="deletion with an inode"),
        pytest.param(damaged(NAMED, 53, b"a"), id="an attribute twice"),
        pytest.param(damaged(NAMED, 47, b"\0"), id="zero byte in an attribute's name"),
        pytest.param(damaged(DEVICE, 44, b"\0\x10"), id="device that can't be"),
        pytest.param(
            damaged(REDIRECTED, 47, b"trusted.overlay.r"), id="attribute of the overlay itself"
        ),
        pytest.param(damaged(FOLDER, 1, b"\2") + b"\0\0", id="no attributes"),
        pytest.param(damaged(FILE, 44, b"\4"), id="size"),
        pytest.param(damaged(FILE, 56, b"\2"), id="kind of extent"),
        pytest.param(damaged(HOLE, 57, b"\0"), id="empty hole"),
        pytest.param(damaged(MOVED, 52, bytes(4)), id="no references"),
        pytest.param(damaged(MOVED, 88, bytes(4)), id="empty reference"),
        pytest.param(damaged(MOVED, 91, b"\1"), id="long reference"),
        pytest.param(damaged(LINK, 46, b"\0"), id="zero byte in a target"),
        pytest.param(damaged(LINK, 44, b"\0\0")[:-2], id="no target"),
    ],
)
def test_impossible_fields_are_damage(item: bytes) -> None:
    with pytest.raises(DamagedError):
        decoded(item)


def test_limits_hold_for_what_is_read() -> None:
    extents = Extents(size_bytes=CHUNK_BYTES_MAX, extents=(Extent(CHUNK, CHUNK_BYTES_MAX),))
    longest = encode(KEY, Entry(kind=Kind.FILE, content=extents))
    assert decoded(longest).size_bytes == CHUNK_BYTES_MAX
    too_long = struct.pack("<Q", CHUNK_BYTES_MAX + 1)
    item = longest.replace(struct.pack("<Q", CHUNK_BYTES_MAX), too_long)
    item = item[:-4] + struct.pack("<I", CHUNK_BYTES_MAX + 1)
    with pytest.raises(DamagedError, match="chunk of"):
        decoded(item)
    small = encode(KEY, Entry(kind=Kind.FILE, content=Inline(data=b"x" * 192)))
    item = small.replace(struct.pack("<Q", 192), struct.pack("<Q", 193)) + b"x"
    with pytest.raises(DamagedError, match="193 bytes in its entry"):
        decoded(item)
    link = encode(KEY, Entry(kind=Kind.SYMBOLIC_LINK, content=Target(path=b"x" * 4096)))
    with pytest.raises(DamagedError, match="target"):
        decoded(link.replace(struct.pack("<H", 4096), struct.pack("<H", 4097)) + b"x")


def test_attributes_at_their_limits_are_kept_and_beyond_them_refused_by_name() -> None:
    largest = bytes(ATTRIBUTE_BYTES_MAX - 1)
    full = ((b"a", largest), (b"b", largest))
    assert sum(len(name) + len(value) for name, value in full) == ATTRIBUTES_BYTES_MAX
    entry = Entry(kind=Kind.FOLDER, attributes=full)
    item = encode(KEY, entry)
    assert decoded(item) == entry
    beyond: list[tuple[tuple[bytes, bytes], ...]] = [
        (*full, (b"c", b"")),
        ((b"a", bytes(ATTRIBUTE_BYTES_MAX + 1)),),
        ((b"a" * 256, b""),),
    ]
    for attributes in beyond:
        with pytest.raises(RefusedError, match="a/b"):
            encode(KEY, msgspec.structs.replace(entry, attributes=attributes))
    one = encode(KEY, Entry(kind=Kind.FOLDER, attributes=((b"a", bytes(ATTRIBUTE_BYTES_MAX)),)))
    longer = struct.pack("<I", ATTRIBUTE_BYTES_MAX + 1)
    with pytest.raises(DamagedError, match="too large"):
        decoded(one.replace(struct.pack("<I", ATTRIBUTE_BYTES_MAX), longer) + b"\0")
    third = item.replace(b"\2\0\1a", b"\3\0\1a") + b"\1c" + bytes(4)
    with pytest.raises(DamagedError, match="too large"):
        decoded(third)


def test_a_too_long_entry_is_refused_by_name() -> None:
    count = ENTRY_BYTES_MAX // 37 + 1
    content = Extents(size_bytes=count, extents=(Extent(CHUNK, 1),) * count)
    with pytest.raises(RefusedError, match=re.escape(f"{b'a/b'!r} would take")):
        encode(KEY, Entry(kind=Kind.FILE, content=content))


def test_a_longer_entry_than_can_be_written_is_damage() -> None:
    count = ENTRY_BYTES_MAX // 36
    references = (Extent(CHUNK, 1),) * count
    item = damaged(MOVED, 52, struct.pack("<I", count)) + encode_references(references)[40:]
    with pytest.raises(DamagedError, match="too long"):
        decoded(item)


@pytest.mark.parametrize("nanoseconds", [0, -1, 1, -(2**63) * 10**9, (2**63) * 10**9 - 1])
def test_the_farthest_times_are_exact(nanoseconds: int) -> None:
    entry = Entry(kind=Kind.FIFO, modified_ns=nanoseconds)
    assert decoded(encode(KEY, entry)).modified_ns == nanoseconds


def test_chunks_of_an_entry_are_those_it_names() -> None:
    mixed = Extents(size_bytes=12, extents=(Extent(None, 7), Extent(CHUNK, 5)))
    assert Entry(kind=Kind.FILE, content=mixed).chunks() == [CHUNK]
    assert MOVED.chunks() == [CHUNK]
    assert SMALL.chunks() == FOLDER.chunks() == []


def test_inodes_of_volumes_come_apart_again_and_those_too_large_are_refused() -> None:
    assert inode_of(3, 257) == 3 << 48 | 257
    assert volume_of(inode_of(VOLUMES - 1, (1 << 48) - 1)) == VOLUMES - 1
    with pytest.raises(RefusedError, match=str(1 << 48)):
        inode_of(0, 1 << 48)
