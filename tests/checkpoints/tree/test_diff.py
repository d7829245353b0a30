"""A diff is all that differs, and reads nothing that doesn't."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings, strategies as st

from checkpoints.tree.changes import SetEntry
from checkpoints.tree.diff import Difference, diff
from checkpoints.tree.keys import ROOT_KEY, Key, key_of
from checkpoints.tree.update import update
from tests.support.trees import (
    CHANGES,
    CUT_BITS,
    MODELS,
    ROOT,
    NodeStore,
    changed,
    file_entry,
    in_order,
    small_nodes,
)

if TYPE_CHECKING:
    from checkpoints.format.ids import ChunkId
    from checkpoints.tree.changes import Change
    from checkpoints.tree.entry import Entry
    from checkpoints.tree.node import Child


@settings(deadline=None, max_examples=500)
@given(before=MODELS, after=MODELS)
def test_a_diff_is_all_that_differs_in_order(
    before: dict[Key, Entry], after: dict[Key, Entry]
) -> None:
    with small_nodes():
        store = NodeStore()
        old, new = store.tree(store.built(before)), store.tree(store.built(after))
        assert list(diff(old, new)) == [
            Difference(key=key, before=before.get(key), after=after.get(key))
            for key in sorted(before | after)
            if before.get(key) != after.get(key)
        ]


def test_a_tree_doesnt_differ_from_itself_and_nothing_but_its_root_is_read() -> None:
    with small_nodes():
        store = NodeStore()
        root = store.built({ROOT_KEY: ROOT, **{key_of(b"%d" % n): ROOT for n in range(100)}})
        assert list(diff(store.tree(root), store.tree(root))) == []
    assert set(store.fetched) == {root.chunk_id}


@settings(deadline=None, max_examples=300)
@given(entries=MODELS, changes=st.lists(CHANGES, max_size=6).map(in_order), cut_bits=CUT_BITS)
def test_a_diff_reads_no_node_that_both_have(
    entries: dict[Key, Entry], changes: list[Change], cut_bits: int
) -> None:
    with small_nodes(cut_bits):
        store = NodeStore()
        old = store.built(entries)
        new = store.built(changed(entries, changes))
        assert not fetched_by_diff(store, old, new) & nodes_of_both(store, old, new)


def test_a_diff_reads_no_node_that_both_have_where_inner_nodes_end_elsewhere() -> None:
    entries = {ROOT_KEY: ROOT} | {key_of(b"%04d" % number): ROOT for number in range(3000)}
    moved_ends = 0
    with small_nodes(3):
        store = NodeStore()
        old = store.built(entries)
        for key in list(entries)[1::30]:
            change = SetEntry(key=key, entry=file_entry(1))
            new = update(store.tree(old), [change], store.put)
            moved_ends += inner_keys(store, old) != inner_keys(store, new)
            fetched = fetched_by_diff(store, old, new)
            assert not fetched & nodes_of_both(store, old, new)
            assert len(fetched) < 30
            (difference,) = diff(store.tree(old), store.tree(new))
            assert difference == Difference(key=key, before=ROOT, after=change.entry)
    assert moved_ends > 10


def fetched_by_diff(store: NodeStore, old: Child, new: Child) -> set[ChunkId]:
    """Return what a diff reads but for the roots."""
    store.forget_calls()
    for _ in diff(store.tree(old), store.tree(new)):
        pass
    return set(store.fetched) - {old.chunk_id, new.chunk_id}


def nodes_of_both(store: NodeStore, old: Child, new: Child) -> set[ChunkId]:
    return store.reachable(old) & store.reachable(new)


def inner_keys(store: NodeStore, root: Child) -> set[tuple[int, Key]]:
    """Return where inner nodes begin, on which level."""
    nodes = store.tree(root).nodes(lambda _: False)
    return {(node.level, node.key(0)) for _, node in nodes if node.level}


def test_a_diff_reads_only_what_differs() -> None:
    entries = {key_of(b"d/%06d" % number): file_entry(number) for number in range(20_000)}
    store = NodeStore()
    old = store.built({ROOT_KEY: ROOT, **entries})
    change = SetEntry(key=key_of(b"d/012345"), entry=file_entry(0))
    new = update(store.tree(old), [change], store.put)
    store.forget_calls()
    assert [each.key for each in diff(store.tree(old), store.tree(new))] == [change.key]
    assert len(store.fetched) == 4
