"""A tree is the map it was built from."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings, strategies as st

from checkpoints.format.ids import ChunkId, chunk_id
from checkpoints.tree.builder import Builder
from checkpoints.tree.cache import NodeCache
from checkpoints.tree.entry import Entry, Kind
from checkpoints.tree.keys import ROOT_KEY, Key, key_of, path_of
from checkpoints.tree.node import NODE_BYTES_MAX, NODE_BYTES_MIN, Node
from checkpoints.tree.tree import Tree
from tests.support.trees import (
    ANY_PATHS,
    ENTRIES,
    MODELS,
    PATHS,
    ROOT,
    NodeStore,
    file_entry,
    small_nodes,
)

ALL_SORTS = st.dictionaries(ANY_PATHS.map(key_of), ENTRIES, max_size=20).map(
    lambda entries: {ROOT_KEY: ROOT, **entries}
)


def below(entries: dict[Key, Entry], path: bytes) -> list[tuple[Key, Entry]]:
    """Return a path's entry and all below it."""
    return sorted(
        (key, entry)
        for key, entry in entries.items()
        if not path or (path_of(key) + b"/").startswith(path + b"/")
    )


@settings(deadline=None, max_examples=300)
@given(entries=st.one_of(MODELS, ALL_SORTS), other=PATHS)
def test_a_tree_is_the_map_it_was_built_from(entries: dict[Key, Entry], other: bytes) -> None:
    with small_nodes():
        store = NodeStore()
        root = store.built(entries)
    tree = store.tree(root)
    assert tree.root == root
    assert root.entries == len(entries)
    assert root.file_bytes == sum(entry.size_bytes for entry in entries.values())
    assert list(tree.walk()) == sorted(entries.items())
    for key, entry in entries.items():
        assert tree.lookup(path_of(key)) == entry
    assert tree.lookup(other) == entries.get(key_of(other))
    assert list(tree.walk(other)) == below(entries, other)
    assert list(tree.walk_keys(other)) == [key for key, _ in below(entries, other)]


@settings(deadline=None, max_examples=200)
@given(entries=MODELS, folder=st.one_of(st.just(b""), PATHS), after=PATHS)
def test_a_listing_is_the_folders_names_in_order(
    entries: dict[Key, Entry], folder: bytes, after: bytes
) -> None:
    with small_nodes():
        store = NodeStore()
        tree = store.tree(store.built(entries))
    names = sorted(
        (path_of(key).rpartition(b"/")[2], entry)
        for key, entry in entries.items()
        if key != ROOT_KEY and path_of(key).rpartition(b"/")[0] == folder
    )
    assert list(tree.listing(folder)) == names
    after = after.partition(b"/")[0]
    assert list(tree.listing(folder, after=after)) == [each for each in names if each[0] > after]


def test_names_and_paths_of_every_length_are_found_again() -> None:
    deep = [b"a/" * depth + b"x" for depth in range(0, 2047, 97)]
    wide = [b"w/" + bytes([byte]) * 255 for byte in range(1, 256) if byte != ord("/")]
    hidden = [b"\x80\xff", b"\n", b"...", b"a b", b"-"]
    entries = {key_of(path): file_entry(len(path)) for path in deep + wide + hidden}
    entries |= {ROOT_KEY: ROOT, key_of(b"empty"): ROOT}
    store = NodeStore()
    tree = store.tree(store.built(entries))
    assert all(tree.find(key) == entry for key, entry in entries.items())
    assert list(tree.listing(b"empty")) == []
    assert list(tree.listing(b"not there")) == []
    assert tree.lookup(b"a/a/not there") is None


def test_a_folder_of_a_hundred_thousand_is_listed_in_pieces() -> None:
    names = [b"%05d" % number for number in range(100_000)]
    store = NodeStore()
    builder = Builder(store.put)
    builder.add(ROOT_KEY, ROOT)
    builder.add(key_of(b"d"), ROOT)
    for number, name in enumerate(names):
        builder.add(Key(b"d\0" + name), file_entry(number))
    root = builder.finish()
    assert root.entries == 100_002
    tree = store.tree(root)
    assert [name for name, _ in tree.listing(b"d")] == names
    store.forget_calls()
    some = tree.listing(b"d", after=b"77777")
    assert next(some) == (b"77778", file_entry(77_778))
    assert len(store.fetched) == 1
    for look in (tree.listing, tree.walk, tree.walk_keys, tree.stamps):
        store.forget_calls()
        assert next(iter(look(b"d")))
        assert len(store.fetched) <= 1 + tree.level
    leaves = [node for _, node in tree.nodes(lambda _: False) if not node.level]
    lengths = sorted(node.raw_bytes for node in leaves)
    assert lengths[1] >= NODE_BYTES_MIN  # all but the last
    assert lengths[-1] <= NODE_BYTES_MAX
    assert 60_000 < sum(lengths) / len(lengths) < 140_000


def test_opening_reads_one_node_and_looking_twice_reads_no_more() -> None:
    store = NodeStore()
    entries = {key_of(b"%06d" % number): file_entry(number) for number in range(10_000)}
    root = store.built({ROOT_KEY: ROOT, **entries})
    tree = store.tree(root)
    assert tree.root.entries == 10_001
    assert len(store.fetched) == 1
    assert tree.lookup(b"001234") == file_entry(1234)
    assert tree.lookup(b"001234") == file_entry(1234)
    assert len(store.fetched) == 1 + tree.level


def test_nodes_that_are_skipped_are_not_read() -> None:
    with small_nodes():
        store = NodeStore()
        root = store.built({ROOT_KEY: ROOT, **{key_of(b"%d" % n): ROOT for n in range(200)}})
    seen: set[ChunkId] = set()

    def skip(chunk: ChunkId) -> bool:
        known = chunk in seen
        seen.add(chunk)
        return known

    first = [chunk for chunk, _ in store.tree(root).nodes(skip)]
    assert sorted(first) == sorted(seen) == sorted(store.reachable(root))
    assert len(first) > 10
    store.forget_calls()
    assert list(store.tree(root).nodes(skip)) == []
    assert store.fetched == []


def test_an_open_node_for_each_level_is_all_a_builder_keeps() -> None:
    kept: list[int] = []

    def put(raw: bytes) -> ChunkId:
        kept.append(sum(cutter.node_bytes for cutter in builder._cutters))
        return chunk_id(raw)

    builder = Builder(put)
    builder.add(ROOT_KEY, ROOT)
    for number in range(50_000):
        builder.add(key_of(b"%06d" % number), file_entry(number))
    builder.finish()
    assert len(kept) > 30
    assert max(kept) <= 2 * NODE_BYTES_MAX


def test_a_tree_without_its_root_folder_is_not_built() -> None:
    with pytest.raises(AssertionError):
        Builder(NodeStore().put).add(key_of(b"a"), ROOT)
    with pytest.raises(AssertionError):
        Builder(NodeStore().put).finish()


# ── The cache ────────────────────────────────────────────────────────────────


def test_a_cache_stays_below_its_bytes_and_forgets_what_was_used_least_lately() -> None:
    store = NodeStore()
    roots = [store.built({ROOT_KEY: Entry(kind=Kind.FOLDER, mode=mode)}) for mode in range(4)]
    nodes = [Node(store.chunks[root.chunk_id]) for root in roots]
    cache = NodeCache(bytes_max=3 * nodes[0].raw_bytes)
    for root, node in zip(roots[:3], nodes, strict=False):
        cache.put(root.chunk_id, node)
        cache.put(root.chunk_id, node)
    assert cache.get(roots[0].chunk_id) is nodes[0]
    cache.put(roots[3].chunk_id, nodes[3])
    assert cache.get(roots[1].chunk_id) is None
    assert [cache.get(roots[number].chunk_id) for number in (0, 2, 3)] == [
        nodes[number] for number in (0, 2, 3)
    ]


def test_threads_may_share_a_tree() -> None:
    entries = {key_of(b"%05d" % number): file_entry(number) for number in range(5000)}
    store = NodeStore()
    root = store.built({ROOT_KEY: ROOT, **entries})
    tree = Tree(root.chunk_id, store.fetch, NodeCache(bytes_max=150_000))
    wrong: list[Key] = []

    def look(start: int) -> None:
        for number in range(start, 5000, 7):
            key = key_of(b"%05d" % number)
            if tree.find(key) != entries[key]:
                wrong.append(key)

    threads = [threading.Thread(target=look, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_root_that_takes_its_time_holds_up_no_other_tree() -> None:
    store = NodeStore()
    root = store.built({ROOT_KEY: ROOT})
    inside, other_is_done = threading.Event(), threading.Event()

    def slow(chunk: ChunkId) -> bytes:
        inside.set()
        assert other_is_done.wait(30)
        return store.fetch(chunk)

    waiting = threading.Thread(target=lambda: Tree(root.chunk_id, slow).find(ROOT_KEY))
    waiting.start()
    assert inside.wait(30)
    quick = threading.Thread(target=lambda: store.tree(root).find(ROOT_KEY))
    quick.start()
    quick.join(10)
    is_held_up = quick.is_alive()
    other_is_done.set()
    waiting.join()
    quick.join()
    assert not is_held_up
