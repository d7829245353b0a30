"""An updated tree is the one that would have been built, and costs what has changed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

from checkpoints.tree.changes import Change, RemoveEntry, RemoveSubtree, SetEntry
from checkpoints.tree.cutter import says_end_of_leaf
from checkpoints.tree.keys import ROOT_KEY, Key, key_of
from checkpoints.tree.node import NODE_BYTES_MAX, Child, Node
from checkpoints.tree.update import update
from tests.support.trees import (
    CHANGES,
    CUT_BITS,
    MODELS,
    ROOT,
    NodeStore,
    changed,
    entry_of_units,
    file_entry,
    in_order,
    small_nodes,
)

if TYPE_CHECKING:
    from checkpoints.tree.entry import Entry


@settings(deadline=None, max_examples=1000)
@given(
    entries=MODELS,
    changes=st.one_of(
        st.lists(CHANGES, max_size=40), st.lists(CHANGES, min_size=1, max_size=3)
    ).map(in_order),
    cut_bits=CUT_BITS,
)
def test_an_updated_tree_is_the_one_built_from_all_entries(
    entries: dict[Key, Entry], changes: list[Change], cut_bits: int
) -> None:
    with small_nodes(cut_bits):
        old, other = NodeStore(), NodeStore()
        before = old.built(entries)
        old.forget_calls()
        after = update(old.tree(before), changes, old.put)
        assert after == other.built(changed(entries, changes))
        assert set(old.stored) <= old.reachable(after)
        assert old.reachable(after) == other.reachable(after)


@settings(deadline=None, max_examples=200)
@given(entries=MODELS, steps=st.lists(st.lists(CHANGES, max_size=8).map(in_order), max_size=8))
def test_many_updates_in_a_row_are_as_good_as_one_build(
    entries: dict[Key, Entry], steps: list[list[Change]]
) -> None:
    with small_nodes():
        store, other = NodeStore(), NodeStore()
        root = store.built(entries)
        for changes in steps:
            root = update(store.tree(root), changes, store.put)
            entries = changed(entries, changes)
        assert root == other.built(entries)


@settings(deadline=None, max_examples=100)
@given(entries=MODELS)
def test_changes_that_change_nothing_write_nothing(entries: dict[Key, Entry]) -> None:
    changes: list[Change] = [
        SetEntry(key=key, entry=entry) for key, entry in sorted(entries.items())
    ]
    absent = Key(key_of(b"b") + b"never")
    with small_nodes():
        store = NodeStore()
        root = store.built(entries)
        store.forget_calls()
        tree = store.tree(root)
        assert update(tree, [], store.put) == root
        assert update(tree, changes, store.put) == root
        assert update(tree, [RemoveEntry(key=absent)], store.put) == root
        assert update(tree, [RemoveSubtree(key=absent)], store.put) == root
        assert store.stored == []


@settings(deadline=None, max_examples=100)
@given(entries=MODELS)
def test_a_tree_from_which_all_goes_has_its_root_folder(entries: dict[Key, Entry]) -> None:
    new_root = file_entry(0)
    changes: list[Change] = [
        RemoveSubtree(key=ROOT_KEY),
        SetEntry(key=ROOT_KEY, entry=new_root),
    ]
    with small_nodes():
        store = NodeStore()
        after = update(store.tree(store.built(entries)), changes, store.put)
    assert list(store.tree(after).walk()) == [(ROOT_KEY, new_root)]


def leaves_of(store: NodeStore, root: Child) -> list[Node]:
    return [node for _, node in store.tree(root).nodes(lambda _: False) if not node.level]


@pytest.mark.parametrize("cut_bits", [1, 2, 32])
def test_what_the_first_and_last_entries_of_nodes_do_to_their_neighbours(cut_bits: int) -> None:
    keys = [key_of(b"%03d" % number) for number in range(120)]
    entries = {ROOT_KEY: ROOT} | {
        key: entry_of_units(key, 1, number % 3) for number, key in enumerate(keys)
    }
    with small_nodes(cut_bits):
        store, other = NodeStore(), NodeStore()
        root = store.built(entries)
        leaves = leaves_of(store, root)
        assert len(leaves) > 8
        for leaf in leaves[1:]:
            for key in (leaf.key(0), leaf.last_key):
                for change in (
                    RemoveEntry(key=key),
                    SetEntry(key=key, entry=entry_of_units(key, 2, 0)),
                    SetEntry(key=key, entry=entry_of_units(key, 2, 4)),
                    SetEntry(key=Key(key + b"x"), entry=file_entry(2)),
                ):
                    after = update(store.tree(root), [change], store.put)
                    assert after == other.built(changed(entries, [change]))


@pytest.mark.parametrize("cut_bits", [1, 2, 32])
def test_a_tree_of_which_some_first_nodes_are_left_is_as_high_as_it_must_be(cut_bits: int) -> None:
    entries = {ROOT_KEY: ROOT} | {key_of(b"%03d" % number): ROOT for number in range(300)}
    heights = set()
    with small_nodes(cut_bits):
        store, other = NodeStore(), NodeStore()
        root = store.built(entries)
        for leaf in leaves_of(store, root):
            kept = {key: entry for key, entry in entries.items() if key <= leaf.last_key}
            changes = [RemoveEntry(key=key) for key in sorted(entries.keys() - kept.keys())]
            store.forget_calls()
            after = update(store.tree(root), changes, store.put)
            assert after == other.built(kept)
            assert set(store.stored) <= store.reachable(after)
            heights.add(store.tree(after).level)
    assert heights >= {0, 1}


def test_removals_within_a_removal_change_nothing_more() -> None:
    inner = {key_of(b"a/b/%03d/c" % number): ROOT for number in range(100)}
    outer = {key_of(b"a/%03d" % number): ROOT for number in range(100)}
    entries = {ROOT_KEY: ROOT, key_of(b"a"): ROOT, key_of(b"b"): ROOT, **inner, **outer}
    changes: list[Change] = [
        RemoveSubtree(key=key_of(b"a")),
        RemoveSubtree(key=key_of(b"a/050")),
        RemoveSubtree(key=key_of(b"a/b")),
        RemoveSubtree(key=key_of(b"a/b/050")),
        SetEntry(key=key_of(b"a/b/080/c"), entry=file_entry(1)),
    ]
    with small_nodes():
        store, other = NodeStore(), NodeStore()
        after = update(store.tree(store.built(entries)), changes, store.put)
        assert after == other.built(changed(entries, changes))
    assert after.entries == 3


# ── Nodes of real size ───────────────────────────────────────────────────────


def numbered(count: int) -> dict[Key, Entry]:
    files = {key_of(b"data/f%06d" % number): file_entry(number) for number in range(count)}
    return {ROOT_KEY: ROOT, key_of(b"data"): ROOT, **files}


def without_ends(entries: dict[Key, Entry]) -> dict[Key, Entry]:
    """Leave out the keys that end nodes, so that all have the largest length."""
    return {key: entry for key, entry in entries.items() if not says_end_of_leaf(key)}


MANY = numbered(30_000)
ENDLESS = without_ends(numbered(40_000))


@pytest.mark.parametrize("entries", [MANY, ENDLESS], ids=["many", "endless"])
@pytest.mark.parametrize("seed", range(4))
def test_scattered_changes_of_a_large_tree_give_the_one_built(
    entries: dict[Key, Entry], seed: int
) -> None:
    rng = random.Random(seed)
    changes: list[Change] = []
    for key in rng.sample(list(entries)[1:], 30):
        changes.append(RemoveEntry(key=key))
        if rng.random() < 0.7:
            changes.append(SetEntry(key=Key(key + b"x" * rng.randrange(2)), entry=file_entry(7)))
    changes = in_order(changes)
    old, other = NodeStore(), NodeStore()
    after = update(old.tree(old.built(entries)), changes, old.put)
    assert after == other.built(changed(entries, changes))


def test_one_change_reads_and_writes_one_way_down() -> None:
    store = NodeStore()
    root = store.built(MANY)
    levels = store.tree(root).level + 1
    for number in (0, 7_777, 15_000, 29_999):
        key = key_of(b"data/f%06d" % number)
        store.forget_calls()
        after = update(store.tree(root), [SetEntry(key=key, entry=file_entry(1))], store.put)
        assert len(store.fetched) <= levels + 1  # one more if the key begins a node
        assert len(store.stored) == levels
        assert after != root


def test_a_change_among_nodes_of_the_largest_length_stays_in_one_of_them() -> None:
    store = NodeStore()
    root = store.built(ENDLESS)
    nodes = dict(store.tree(root).nodes(lambda _: False))
    assert sum(node.raw_bytes > NODE_BYTES_MAX - 200 for node in nodes.values()) >= 4
    store.forget_calls()
    same_length = file_entry(8)
    update(store.tree(root), [SetEntry(key=list(ENDLESS)[100], entry=same_length)], store.put)
    assert len(store.stored) == 2
    assert len(store.fetched) <= 3


def test_removing_a_large_folder_reads_only_its_edges() -> None:
    entries = MANY | {key_of(b"e%03d" % number): ROOT for number in range(1000)}
    store, other = NodeStore(), NodeStore()
    root = store.built(entries)
    store.forget_calls()
    after = update(store.tree(root), [RemoveSubtree(key=key_of(b"data"))], store.put)
    assert len(store.fetched) <= 5
    rest = {key: entry for key, entry in entries.items() if not key.startswith(b"data\0")}
    del rest[key_of(b"data")]
    assert after == other.built(rest)
