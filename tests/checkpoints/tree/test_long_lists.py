"""A file's extents are the same wherever their list is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from checkpoints.format.damage import DamagedChunkError, DamagedError
from checkpoints.format.ids import ChunkId
from checkpoints.tree import long_lists
from checkpoints.tree.entry import (
    ENTRY_BYTES_MAX,
    Entry,
    Extents,
    IndirectExtents,
    Kind,
    RefusedError,
)
from checkpoints.tree.entry_bytes import decode, encode
from checkpoints.tree.extents import FILE_EXTENTS_MAX, Extent, encode_extents
from checkpoints.tree.keys import key_of
from checkpoints.tree.long_lists import extents_of, fitted
from tests.support.trees import NodeStore, file_entry

KEY = key_of(b"a/b")
CHUNK = ChunkId(bytes(range(32)))
EXTENT_BYTES = 37


def file_of(count: int) -> Entry:
    """Return a file with that many extents, some of which are holes."""
    extents = tuple(Extent(CHUNK if number % 3 else None, number + 1) for number in range(count))
    size = sum(extent.length_bytes for extent in extents)
    return Entry(kind=Kind.FILE, content=Extents(size_bytes=size, extents=extents))


def extents_in(entry: Entry) -> Extents:
    assert isinstance(entry.content, Extents)
    return entry.content


def test_a_list_moves_out_exactly_when_the_entry_would_be_too_long() -> None:
    store = NodeStore()
    fixed = len(encode(KEY, file_of(0)))
    count = (ENTRY_BYTES_MAX - fixed) // EXTENT_BYTES
    content = Extents(size_bytes=count, extents=(Extent(CHUNK, 1),) * count)
    longest = Entry(kind=Kind.FILE, content=content)
    assert fitted(KEY, longest, store.put) is longest
    assert encode(KEY, longest)
    content = Extents(size_bytes=count + 1, extents=(Extent(CHUNK, 1),) * (count + 1))
    moved = fitted(KEY, Entry(kind=Kind.FILE, content=content), store.put)
    assert isinstance(moved.content, IndirectExtents)
    assert moved.size_bytes == count + 1
    assert list(extents_of(moved.content, store.fetch)) == list(content.extents)


def test_a_very_long_list_comes_back_from_several_chunks() -> None:
    store = NodeStore()
    entry = file_of(60_000)
    moved = fitted(KEY, entry, store.put)
    item = encode(KEY, moved)
    again = decode(item, 2 + len(KEY), len(item))
    assert isinstance(again.content, IndirectExtents)
    assert len(again.content.references) > 2
    assert again.chunks() == store.stored
    assert tuple(extents_of(again.content, store.fetch)) == extents_in(entry).extents


def test_short_lists_and_other_entries_stay_as_they_are() -> None:
    store = NodeStore()
    for entry in (file_of(10), file_of(1001), Entry(kind=Kind.FIFO)):
        assert fitted(KEY, entry, store.put) is entry
    assert store.stored == []
    content = extents_in(file_entry(1))
    assert tuple(extents_of(content, store.fetch)) == content.extents


@settings(deadline=None)
@given(count=st.integers(0, 12), piece=st.integers(1, 80))
def test_an_extent_may_lie_across_any_number_of_pieces(count: int, piece: int) -> None:
    store = NodeStore()
    content = extents_in(file_of(count))
    data = encode_extents(content.extents)
    pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
    references = tuple(Extent(store.put(each), len(each)) for each in pieces)
    moved = IndirectExtents(size_bytes=content.size_bytes, references=references)
    assert tuple(extents_of(moved, store.fetch)) == content.extents


@settings(deadline=None)
@given(data=st.data())
def test_a_damaged_list_is_found_at_its_end_at_the_latest(data: st.DataObject) -> None:
    store = NodeStore()
    content = extents_in(file_of(6))
    raw = bytearray(encode_extents(content.extents))
    match data.draw(st.sampled_from(["cut", "longer", "flip", "size"])):
        case "cut":
            del raw[data.draw(st.integers(1, len(raw) - 1)) :]
        case "longer":
            raw += data.draw(st.binary(min_size=1, max_size=50))
        case "flip":
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
        case _:
            content = Extents(size_bytes=content.size_bytes + 1, extents=content.extents)
    chunk = store.put(bytes(raw))
    moved = IndirectExtents(size_bytes=content.size_bytes, references=(Extent(chunk, len(raw)),))
    try:
        found = list(extents_of(moved, store.fetch))
    except DamagedChunkError as error:
        assert error.chunk_id == chunk  # noqa: PT017
        return
    except DamagedError as error:
        assert "bytes of extents" in str(error)  # noqa: PT017 (which of the two is wrong?)
        return
    assert sum(extent.length_bytes for extent in found) == content.size_bytes
    assert encode_extents(found) == raw


def test_a_piece_of_another_length_is_damage() -> None:
    store = NodeStore()
    chunk = store.put(encode_extents(extents_in(file_of(2)).extents))
    moved = IndirectExtents(size_bytes=3, references=(Extent(chunk, 7),))
    with pytest.raises(DamagedError, match="referred to"):
        list(extents_of(moved, store.fetch))


@pytest.mark.parametrize("count", [1, FILE_EXTENTS_MAX + 1])
def test_a_list_that_is_made_up_of_one_piece_again_and_again_is_refused_at_once(
    count: int,
) -> None:
    """7000 references to 4 MiB of holes of a byte would be three thousand million extents."""
    store = NodeStore()
    raw = count.to_bytes(4, "little") + encode_extents((Extent(None, 1),) * 50_000)[4:]
    chunk = store.put(raw)
    fetched = 0

    def fetch(chunk: ChunkId) -> bytes:
        nonlocal fetched
        fetched += 1
        return store.fetch(chunk)

    content = IndirectExtents(size_bytes=1 << 40, references=(Extent(chunk, len(raw)),) * 7000)
    with pytest.raises(DamagedChunkError):
        list(extents_of(content, fetch))
    assert fetched == 1


def test_a_file_of_too_many_extents_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_lists, "FILE_EXTENTS_MAX", 2000)
    fitted(KEY, file_of(2000), NodeStore().put)
    with pytest.raises(RefusedError, match="b'a/b' has 2001 pieces and holes"):
        fitted(KEY, file_of(2001), NodeStore().put)


def test_lists_are_cut_in_pieces_that_are_chunks() -> None:
    assert long_lists.PIECE_BYTES <= 4 * 1024 * 1024
