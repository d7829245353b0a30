"""An updated tree is the one that would have been built, and costs what has changed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING
from zlib import crc32

import pytest
from hypothesis import given, settings, strategies as st

from checkpoints.tree.changes import Change, RemoveEntry, RemoveSubtree, SetEntry
from checkpoints.tree.keys import ROOT_KEY, Key, key_of, path_of
from checkpoints.tree.node import NODE_BYTES_MAX
from checkpoints.tree.update import update
from tests.support.trees import (
    KEYS,
    MODELS,
    ROOT,
    SIMPLE_ENTRIES,
    NodeStore,
    file_entry,
    small_nodes,
)

if TYPE_CHECKING:
    from checkpoints.tree.entry import Entry

CHANGES = st.one_of(
    st.builds(SetEntry, key=KEYS, entry=SIMPLE_ENTRIES),
    st.builds(RemoveEntry, key=KEYS),
    st.builds(RemoveSubtree, key=KEYS),
)


def in_order(changes: list[Change]) -> list[Change]:
    """Return at most one setting of a key, after its removals, ascending."""
    found: dict[tuple[Key, bool], Change] = {}
    for change in changes:
        found[change.key, isinstance(change, SetEntry)] = change
    return [found[at] for at in sorted(found)]


def changed(entries: dict[Key, Entry], changes: list[Change]) -> dict[Key, Entry]:
    """What should come out: removals first, then settings."""
    after = dict(entries)
    for change in changes:
        if isinstance(change, RemoveEntry):
            after.pop(change.key, None)
        elif isinstance(change, RemoveSubtree):
            top = path_of(change.key)
            for key in list(after):
                if key != ROOT_KEY and (path_of(key) + b"/").startswith(top + b"/"):
                    del after[key]
    return after | {change.key: change.entry for change in changes if isinstance(change, SetEntry)}


@settings(deadline=None, max_examples=1500)
@given(entries=MODELS, changes=st.lists(CHANGES, max_size=40).map(in_order))
def test_an_updated_tree_is_the_one_built_from_all_entries(
    entries: dict[Key, Entry], changes: list[Change]
) -> None:
    with small_nodes():
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


# ── Nodes of real size ───────────────────────────────────────────────────────


def numbered(count: int) -> dict[Key, Entry]:
    files = {key_of(b"data/f%06d" % number): file_entry(number) for number in range(count)}
    return {ROOT_KEY: ROOT, key_of(b"data"): ROOT, **files}


def without_ends(entries: dict[Key, Entry]) -> dict[Key, Entry]:
    """Leave out the keys that end nodes, so that all have the largest length."""
    return {key: entry for key, entry in entries.items() if crc32(key) & 0x1FF != 0x1FF}


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
