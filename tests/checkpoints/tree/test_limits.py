"""What is within the limits of the format is kept, and what is beyond them is refused by name."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from checkpoints.format.codec import CHUNK_BYTES_MAX
from checkpoints.format.ids import ChunkId
from checkpoints.tree.changes import SetEntry
from checkpoints.tree.entry import (
    ATTRIBUTE_BYTES_MAX,
    ATTRIBUTES_BYTES_MAX,
    ENTRY_BYTES_MAX,
    TARGET_BYTES_MAX,
    Entry,
    Extents,
    IndirectExtents,
    Kind,
    RefusedError,
    Target,
)
from checkpoints.tree.entry_bytes import FIXED_BYTES, encode
from checkpoints.tree.extents import CHUNK_EXTENT_BYTES, Extent
from checkpoints.tree.keys import NAME_BYTES_MAX, PATH_BYTES_MAX, ROOT_KEY, Key, key_of, path_of
from checkpoints.tree.long_lists import extents_of, fitted
from checkpoints.tree.node import FILE_BYTES_MODULUS, NODE_BYTES_MAX
from checkpoints.tree.update import update
from tests.support.trees import ROOT, NodeStore

if TYPE_CHECKING:
    from collections.abc import Sequence

Attributes = tuple[tuple[bytes, bytes], ...]

CHUNK = ChunkId(bytes(range(32)))
NEARLY = st.integers(-2, 0)
AROUND = st.integers(-1, 1)
LETTERS = st.sampled_from([b"a", b"m", b"\x01", b"\xff"])


def path_of_length(length: int, letter: bytes) -> bytes:
    """Return one of names that are as long as they can be, the last maybe shorter."""
    whole, rest = divmod(length, NAME_BYTES_MAX + 1)
    names = [letter * NAME_BYTES_MAX] * whole + ([letter * rest] if rest else [])
    return b"/".join(names)[:length].rstrip(b"/")


PATHS = st.builds(
    path_of_length,
    st.one_of(
        st.integers(1, 3),
        NEARLY.map(lambda near: NAME_BYTES_MAX + near),
        NEARLY.map(lambda near: PATH_BYTES_MAX + near),
    ),
    LETTERS,
)


def attributes_of(total: int, longest: int, count: int) -> Attributes:
    """Return so many of so many bytes together, the first of which is the longest."""
    names = [b"user.%06d" % number for number in range(count)]
    left = total - sum(map(len, names))
    values = []
    for _ in names:
        values.append(min(longest, max(left, 0)))
        left -= values[-1]
    return tuple((name, bytes(value)) for name, value in zip(names, values, strict=True))


ATTRIBUTES = st.one_of(
    st.just(()),
    st.builds(
        attributes_of,
        st.just(ATTRIBUTES_BYTES_MAX),
        AROUND.map(lambda around: ATTRIBUTE_BYTES_MAX + around),
        st.just(1),
    ),
    st.builds(
        attributes_of,
        AROUND.map(lambda around: ATTRIBUTES_BYTES_MAX + around),
        st.just(ATTRIBUTE_BYTES_MAX),
        st.sampled_from([2, 3, 1000, ATTRIBUTES_BYTES_MAX // 11, 2 * ATTRIBUTES_BYTES_MAX // 11]),
    ),
)


def crowded(key: Key, more: int) -> Attributes:
    """Return as many of four bytes as make an entry as long as it can be, but for some."""
    room = ENTRY_BYTES_MAX - 2 - len(key) - FIXED_BYTES - 2
    return tuple((b"%04x" % number, b"") for number in range(room // 9 + more))


def with_list(entry: Entry, key: Key, more: int) -> Entry:
    """Return a file whose list of extents is as long as the entry allows, but for some extents."""
    shorter = msgspec.structs.replace(entry, content=Extents(size_bytes=0, extents=()))
    try:
        room = ENTRY_BYTES_MAX - len(encode(key, shorter))
    except RefusedError:
        room = 0
    count = max(room // CHUNK_EXTENT_BYTES + more, 0)
    extents = (Extent(CHUNK, CHUNK_BYTES_MAX),) * count
    content = Extents(size_bytes=count * CHUNK_BYTES_MAX, extents=extents)
    return msgspec.structs.replace(entry, content=content)


@st.composite
def entries(draw: st.DrawFn) -> tuple[Key, Entry]:
    key = key_of(draw(PATHS))
    attributes = draw(ATTRIBUTES)
    kind = draw(st.sampled_from([Kind.FILE, Kind.FOLDER, Kind.SYMBOLIC_LINK]))
    if kind is Kind.SYMBOLIC_LINK:
        target = Target(path=b"t" * (TARGET_BYTES_MAX + draw(NEARLY)))
        return key, Entry(kind=kind, attributes=attributes, content=target)
    if kind is Kind.FOLDER:
        attributes = draw(st.one_of(st.just(attributes), AROUND.map(partial(crowded, key))))
        return key, Entry(kind=kind, attributes=attributes)
    return key, with_list(Entry(kind=kind, attributes=attributes), key, draw(AROUND))


def is_within_limits(key: Key, entry: Entry) -> bool:
    attributes = entry.attributes
    head = 2 + len(key) + FIXED_BYTES + (2 if attributes else 0)
    return (
        all(len(value) <= ATTRIBUTE_BYTES_MAX for _, value in attributes)
        and sum(len(name) + len(value) for name, value in attributes) <= ATTRIBUTES_BYTES_MAX
        and head + sum(5 + len(name) + len(value) for name, value in attributes) <= ENTRY_BYTES_MAX
    )


def extents_in(entry: Entry, store: NodeStore) -> Sequence[Extent]:
    content = entry.content
    assert isinstance(content, (Extents, IndirectExtents))
    return tuple(extents_of(content, store.fetch))


DRAWN = st.lists(entries(), min_size=1, max_size=6).map(lambda drawn: sorted(dict(drawn).items()))


@settings(deadline=None, max_examples=60)
@given(DRAWN)
def test_what_is_within_the_limits_is_kept_and_nothing_else(
    drawn: list[tuple[Key, Entry]],
) -> None:
    keeps_what_is_within_the_limits(drawn)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@settings(deadline=None, max_examples=500)
@given(DRAWN)
def test_of_many_what_is_within_the_limits_is_kept_and_nothing_else(
    drawn: list[tuple[Key, Entry]],
) -> None:
    keeps_what_is_within_the_limits(drawn)


def keeps_what_is_within_the_limits(drawn: list[tuple[Key, Entry]]) -> None:
    store = NodeStore()
    kept: dict[Key, Entry] = {ROOT_KEY: ROOT}
    for key, entry in drawn:
        if is_within_limits(key, entry):
            kept[key] = fitted(key, entry, store.put)
            continue
        with pytest.raises(RefusedError) as caught:
            encode(key, fitted(key, entry, store.put))
        assert repr(path_of(key)) in str(caught.value)
    tree = store.tree(store.built(kept))
    assert list(tree.walk()) == sorted(kept.items())
    assert max(len(raw) for raw in store.chunks.values()) <= NODE_BYTES_MAX
    for key, entry in drawn:
        found = tree.find(key)
        assert found == kept.get(key)
        if found is not None and entry.kind is Kind.FILE:
            assert extents_in(found, store) == extents_in(entry, store)
    grown = NodeStore()
    empty = grown.tree(grown.built({ROOT_KEY: ROOT}))
    changes = [SetEntry(key=key, entry=kept[key]) for key in sorted(kept)[1:]]
    assert update(empty, changes, grown.put) == tree.root


def test_more_attributes_than_can_be_counted_are_refused_by_name() -> None:
    names = [bytes([first]) for first in range(256)]
    names += [bytes([first, second]) for first in range(256) for second in range(256)]
    attributes = tuple((name, b"") for name in sorted(names[: 1 << 16]))
    assert sum(len(name) for name, _ in attributes) <= ATTRIBUTES_BYTES_MAX
    with pytest.raises(RefusedError, match="'a'"):
        encode(key_of(b"a"), Entry(kind=Kind.FOLDER, attributes=attributes))


def test_files_may_be_longer_together_than_a_number_holds() -> None:
    """With nothing in them: btrfs has such of 2^63 - 1 bytes."""
    longest = 2**63 - 1
    entries = {ROOT_KEY: ROOT}
    for number in range(3000):  # of several nodes
        content = Extents(size_bytes=longest, extents=(Extent(None, longest),))
        entries[key_of(b"%d" % number)] = Entry(kind=Kind.FILE, content=content)
    store = NodeStore()
    root = store.built(entries)
    assert store.tree(root).level == 1
    assert root.file_bytes == 3000 * longest % FILE_BYTES_MODULUS
    changed = Entry(kind=Kind.FIFO)
    edits = [SetEntry(key=key_of(b"%d" % number), entry=changed) for number in (5, 7)]
    found = update(store.tree(root), edits, store.put)
    assert found == store.built(entries | {edit.key: changed for edit in edits})
    assert found.file_bytes == 2998 * longest % FILE_BYTES_MODULUS
    assert store.tree(found).root == found
