"""A stamp is what the entry says, at a fraction of its price."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings

from checkpoints.format.damage import DamagedError
from checkpoints.tree.entry import DELETION, Entry, Inline, Kind
from checkpoints.tree.entry_bytes import FIXED_BYTES, encode
from checkpoints.tree.keys import ROOT_KEY, Key, key_of
from checkpoints.tree.stamps import Stamp, stamps_in
from tests.checkpoints.tree.test_tree import ALL_SORTS
from tests.support.trees import PATHS, ROOT, NodeStore, small_nodes

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = key_of(b"a/b")


def stamp_of(key: Key, entry: Entry) -> Stamp:
    return Stamp(
        key, entry.kind, entry.size_bytes, entry.modified_ns, entry.changed_ns, entry.inode
    )


@settings(deadline=None, max_examples=300)
@given(entries=ALL_SORTS, path=PATHS)
def test_stamps_say_what_entries_say(entries: Mapping[Key, Entry], path: bytes) -> None:
    with small_nodes():
        store = NodeStore()
        tree = store.tree(store.built(entries))
    assert list(tree.stamps()) == [stamp_of(*each) for each in sorted(entries.items())]
    assert list(tree.stamps(path)) == [stamp_of(*each) for each in tree.walk(path)]


@pytest.mark.parametrize("last", [DELETION, ROOT, Entry(kind=Kind.FILE, content=Inline(data=b""))])
def test_the_shortest_entry_may_be_the_last_in_a_leaf(last: Entry) -> None:
    store = NodeStore()
    tree = store.tree(store.built({ROOT_KEY: ROOT, KEY: last}))
    assert list(tree.stamps())[-1] == stamp_of(KEY, last)
    assert list(store.tree(store.built({ROOT_KEY: last})).stamps()) == [stamp_of(ROOT_KEY, last)]


@pytest.mark.parametrize("kind", [0, len(Kind) + 1, 255])
def test_an_unknown_kind_is_damage(kind: int) -> None:
    item = bytearray(encode(KEY, ROOT))
    item[2 + len(KEY)] = kind
    with pytest.raises(DamagedError, match="kind"):
        stamps_in(bytes(item), [KEY], [0])


@pytest.mark.parametrize("length", [0, 2, 2 + len(KEY) + FIXED_BYTES - 1])
def test_an_entry_cut_off_is_damage(length: int) -> None:
    item = encode(KEY, ROOT)
    with pytest.raises(DamagedError, match="too early"):
        stamps_in(item[:length], [KEY], [0])
