"""A damaged tree says so, and does nothing else."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from checkpoints.format.damage import DamagedChunkError, DamagedError
from checkpoints.tree.builder import Builder
from checkpoints.tree.keys import ROOT_KEY, Key, key_of
from checkpoints.tree.node import NODE_BYTES_MAX, Node
from checkpoints.tree.tree import Tree
from tests.support.trees import KEYS, MODELS, ROOT, NodeStore, small_nodes

if TYPE_CHECKING:
    from collections.abc import Callable

    from checkpoints.tree.entry import Entry


def look_at_everything(tree: Tree) -> None:
    """Do all that can be done, of which nothing may fail but with the id of a chunk."""
    for look in (
        lambda: list(tree.walk()),
        lambda: list(tree.walk_keys()),
        lambda: list(tree.stamps()),
        lambda: tree.lookup(b"a/b"),
        lambda: list(tree.listing(b"a")),
        lambda: [node.weigh(0, node.count) for _, node in tree.nodes(lambda _: False)],
        lambda: [node.chunks() for _, node in tree.nodes(lambda _: False) if not node.level],
    ):
        with suppress(DamagedChunkError):
            look()


@settings(deadline=None, max_examples=500)
@given(entries=MODELS, data=st.data())
def test_damage_in_any_node_is_found_by_its_id(
    entries: dict[Key, Entry], data: st.DataObject
) -> None:
    """Both where ids are checked, and where somebody made an id for damaged bytes."""
    with small_nodes():
        store = NodeStore()
        root = store.built(entries)
    victim = data.draw(st.sampled_from(sorted(store.chunks)))
    raw = bytearray(store.chunks[victim])
    match data.draw(st.sampled_from(["flip", "cut", "longer", "gone"])):
        case "flip":
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        case "cut":
            del raw[data.draw(st.integers(0, len(raw) - 1)) :]
        case "longer":
            raw += data.draw(st.binary(min_size=1, max_size=9))
        case _:
            raw.clear()
    store.chunks[victim] = bytes(raw)
    with pytest.raises(DamagedError, match=victim.hex()):
        list(store.tree(root).walk())
    for key, entry in entries.items():
        try:
            assert store.tree(root).find(key) == entry
        except DamagedError as error:
            assert victim.hex() in str(error)  # noqa: PT017
    look_at_everything(Tree(root.chunk_id, store.fetch_unchecked))


@settings(deadline=None, max_examples=500)
@given(st.binary(max_size=120), st.integers(0, 1))
def test_any_bytes_are_damage_or_a_node(body: bytes, level: int) -> None:
    for data in (body, b"STND" + bytes([level]) + bytes(3) + body):
        with suppress(DamagedError):
            node = Node(data)
            node.find(key_of(b"a"))
            if level:
                [node.child(number) for number in range(node.count)]
                continue
            with suppress(DamagedError):
                node.stamps(0, node.count)
            with suppress(DamagedError):
                node.chunks()
            node.entries(0, node.count)


@settings(deadline=None)
@given(KEYS, KEYS)
def test_a_node_out_of_order_is_damage_to_who_walks(first: Key, second: Key) -> None:
    store = NodeStore()
    builder = Builder(store.put)
    builder.add(ROOT_KEY, ROOT)
    for key in (max(first, second), min(first, second)):
        builder._lowest.add(key, b"", 1, 0)
    with pytest.raises(DamagedError):
        list(store.tree(builder.finish()).walk())


@pytest.mark.parametrize(
    "look",
    [
        lambda tree: list(tree.walk()),
        lambda tree: list(tree.stamps(b"b")),
        lambda tree: list(tree.listing(b"")),
        lambda tree: tree.lookup(b"b"),
        lambda tree: [node.chunks() for _, node in tree.nodes(lambda _: False)],
    ],
    ids=["walk", "stamps", "listing", "lookup", "chunks"],
)
def test_an_entry_that_makes_no_sense_is_found_by_its_node(look: Callable[[Tree], object]) -> None:
    store = NodeStore()
    store.built({ROOT_KEY: ROOT, key_of(b"a"): ROOT, key_of(b"b"): ROOT})
    ((good, raw),) = store.chunks.items()
    last_entry = raw.index(b"\2\0" + key_of(b"b"))
    kind = last_entry + 2 + len(key_of(b"b"))
    bad = store.put(raw[:kind] + b"\x63" + raw[kind + 1 :])
    assert bad != good
    with pytest.raises(DamagedChunkError, match="kind") as caught:
        look(Tree(bad, store.fetch))
    assert caught.value.chunk_id == bad
    assert bad.hex() in str(caught.value)


def test_a_node_in_anothers_place_is_damage() -> None:
    with small_nodes():
        store = NodeStore()
        root = store.built({ROOT_KEY: ROOT, **{key_of(b"%d" % n): ROOT for n in range(100)}})
    leaves = [chunk for chunk, node in store.tree(root).nodes(lambda _: False) if not node.level]
    store.chunks[leaves[1]] = store.chunks[leaves[2]]
    with pytest.raises(DamagedError, match="not what was referred to"):
        list(Tree(root.chunk_id, store.fetch_unchecked).walk())
    with pytest.raises(DamagedError, match="no root"):
        Tree(leaves[2], store.fetch).lookup(b"a")


@pytest.mark.parametrize(
    ("at", "wrong"),
    [
        (0, b"STNE"),
        (5, b"\1"),
        (7, b"\1"),
        (8, b"\2"),
        (8, bytes(4)),
        (12, b"\xff"),
        (-12, b"\x11"),
        (-8, struct.pack("<I", 200)),
        (-4, struct.pack("<I", 17)),
        (-1, b"\1"),
    ],
)
def test_a_wrong_header_or_table_is_damage(at: int, wrong: bytes) -> None:
    store = NodeStore()
    root = store.built({ROOT_KEY: ROOT, key_of(b"a"): ROOT, key_of(b"b"): ROOT})
    raw = bytearray(store.chunks[root.chunk_id])
    at %= len(raw)
    raw[at : at + len(wrong)] = wrong
    with pytest.raises(DamagedError):
        Node(bytes(raw))


@pytest.mark.parametrize(
    "wrong", [{"key": key_of(b"l")}, {"entries": 2}, {"raw_bytes": 99}], ids=str
)
def test_a_node_that_isnt_what_the_one_above_says_is_damage(wrong: dict[str, object]) -> None:
    store = NodeStore()
    second = Builder(store.put)
    second._last = ROOT_KEY
    second.add(key_of(b"m"), ROOT)
    above = Builder(store.put, level=1)
    above.add_child(store.built({ROOT_KEY: ROOT}))
    above.add_child(msgspec.structs.replace(second.finish(), **wrong))
    root = above.finish()
    with pytest.raises(DamagedError, match="not what was referred to"):
        store.tree(root).lookup(b"m")


@pytest.mark.parametrize(
    ("field", "wrong"), [("raw_bytes", 0), ("raw_bytes", NODE_BYTES_MAX + 1), ("entries", 0)]
)
def test_a_child_that_no_node_can_be_is_damage(field: str, wrong: int) -> None:
    store = NodeStore()
    above = Builder(store.put, level=1)
    above.add_child(msgspec.structs.replace(store.built({ROOT_KEY: ROOT}), **{field: wrong}))
    above.add_child(msgspec.structs.replace(store.built({ROOT_KEY: ROOT}), key=key_of(b"m")))
    root = above.finish()
    with pytest.raises(DamagedChunkError, match="no node") as caught:
        store.tree(root).lookup(b"a")
    assert caught.value.chunk_id == root.chunk_id


def test_a_node_of_another_level_is_damage() -> None:
    store = NodeStore()
    leaf = store.built({ROOT_KEY: ROOT})
    second = Builder(store.put)
    second._last = ROOT_KEY
    second.add(key_of(b"m"), ROOT)
    above = Builder(store.put, level=2)
    above.add_child(leaf)
    above.add_child(second.finish())
    root = above.finish()
    with pytest.raises(DamagedError, match="not what was referred to"):
        store.tree(root).lookup(b"a")
    with pytest.raises(DamagedError, match="not what was referred to"):
        list(store.tree(root).walk())


def test_nodes_out_of_order_are_damage_to_who_walks() -> None:
    store = NodeStore()
    first = store.built({ROOT_KEY: ROOT, key_of(b"z"): ROOT})
    builder = Builder(store.put)
    builder._last = ROOT_KEY
    builder.add(key_of(b"m"), ROOT)
    above = Builder(store.put, level=1)
    above.add_child(first)
    above.add_child(builder.finish())
    with pytest.raises(DamagedError, match="out of order"):
        list(store.tree(above.finish()).walk())
