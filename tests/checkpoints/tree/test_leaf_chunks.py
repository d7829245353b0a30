"""What is found to be needed by a leaf's bytes is what its entries need."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

from checkpoints.format.damage import DamagedError
from checkpoints.tree.entry import Entry, IndirectExtents, Kind
from checkpoints.tree.entry_bytes import encode
from checkpoints.tree.keys import Key, key_of
from checkpoints.tree.leaf_chunks import LeafChunks, chunks_in
from checkpoints.tree.node import Node
from tests.checkpoints.tree.test_tree import ALL_SORTS
from tests.support.trees import ROOT, NodeStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KEY = key_of(b"a/b")


def chunks_of(entries: Iterable[Entry]) -> LeafChunks:
    """Return what should be found."""
    found = list(entries)
    return LeafChunks(
        [chunk for entry in found for chunk in entry.chunks()],
        [entry.content for entry in found if isinstance(entry.content, IndirectExtents)],
    )


@settings(deadline=None, max_examples=300)
@given(ALL_SORTS)
def test_a_leaf_needs_what_its_entries_need(entries: Mapping[Key, Entry]) -> None:
    store = NodeStore()
    root = store.built(entries)
    leaf = Node(store.chunks[root.chunk_id])
    assert leaf.chunks() == chunks_of(entry for _, entry in sorted(entries.items()))


@settings(deadline=None, max_examples=300)
@given(entries=ALL_SORTS, data=st.data())
def test_nothing_that_entries_need_is_missed_in_a_damaged_leaf(
    entries: Mapping[Key, Entry], data: st.DataObject
) -> None:
    store = NodeStore()
    raw = bytearray(store.chunks[store.built(entries).chunk_id])
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(DamagedError):
        leaf = Node(bytes(raw))
        if leaf.level:
            return
        understood = []
        for number in range(leaf.count):
            try:
                understood.append(leaf.entry(number))
            except DamagedError:
                understood.append(ROOT)
        found = leaf.chunks()
        assert set(chunks_of(understood).chunk_ids) <= set(found.chunk_ids)
        assert chunks_of(understood).long_lists == found.long_lists


@pytest.mark.parametrize("kind", [0, len(Kind) + 1, 255])
def test_an_unknown_kind_is_damage(kind: int) -> None:
    item = bytearray(encode(KEY, ROOT))
    item[2 + len(KEY)] = kind
    with pytest.raises(DamagedError, match="kind"):
        chunks_in(bytes(item), [0, len(item)])


def test_a_key_longer_than_its_entry_is_damage() -> None:
    items = encode(KEY, ROOT) + encode(KEY, ROOT)
    bounds = [0, 2 + len(KEY), len(items)]
    with pytest.raises(DamagedError, match="shorter"):
        chunks_in(items, bounds)
