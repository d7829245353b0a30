"""A diff is all that differs, and reads nothing that doesn't."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings

from checkpoints.tree.changes import SetEntry
from checkpoints.tree.diff import Difference, diff
from checkpoints.tree.keys import ROOT_KEY, Key, key_of
from checkpoints.tree.update import update
from tests.support.trees import MODELS, ROOT, NodeStore, file_entry, small_nodes

if TYPE_CHECKING:
    from checkpoints.tree.entry import Entry


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


def test_a_diff_reads_only_what_differs() -> None:
    entries = {key_of(b"d/%06d" % number): file_entry(number) for number in range(20_000)}
    store = NodeStore()
    old = store.built({ROOT_KEY: ROOT, **entries})
    change = SetEntry(key=key_of(b"d/012345"), entry=file_entry(0))
    new = update(store.tree(old), [change], store.put)
    store.forget_calls()
    assert [each.key for each in diff(store.tree(old), store.tree(new))] == [change.key]
    assert len(store.fetched) == 4
