"""Trees of checkpoints for tests: a store of nodes, entries of all kinds, and small nodes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st

from checkpoints.format.codec import CHUNK_BYTES_MAX
from checkpoints.format.damage import DamagedChunkError
from checkpoints.format.ids import ChunkId, chunk_id
from checkpoints.tree import cutter
from checkpoints.tree.builder import build
from checkpoints.tree.changes import Change, RemoveEntry, RemoveSubtree, SetEntry
from checkpoints.tree.entry import (
    DEVICE_MAJOR_MAX,
    DEVICE_MINOR_MAX,
    INLINE_BYTES_MAX,
    VOLUMES,
    Content,
    Device,
    Entry,
    Extents,
    IndirectExtents,
    Inline,
    Kind,
    Target,
    deletion,
    is_attribute_name,
)
from checkpoints.tree.entry_bytes import encode
from checkpoints.tree.extents import Extent
from checkpoints.tree.keys import ROOT_KEY, Key, key_of, path_of
from checkpoints.tree.node import HEADER_BYTES, TABLE_ENTRY_BYTES
from checkpoints.tree.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from checkpoints.tree.node import Child

UNIT_BYTES = 48
ROOT = Entry(kind=Kind.FOLDER, mode=0o755)


class NodeStore:
    """Keeps chunks, and remembers which were read and written."""

    def __init__(self) -> None:
        self.chunks: dict[ChunkId, bytes] = {}
        self.fetched: list[ChunkId] = []
        self.stored: list[ChunkId] = []

    def put(self, raw: bytes) -> ChunkId:
        found = chunk_id(raw)
        self.chunks[found] = raw
        self.stored.append(found)
        return found

    def fetch(self, chunk: ChunkId) -> bytes:
        self.fetched.append(chunk)
        if chunk not in self.chunks:
            raise DamagedChunkError(chunk, "is nowhere")
        raw = self.chunks[chunk]
        if chunk_id(raw) != chunk:
            raise DamagedChunkError(chunk, "has other content")
        return raw

    def fetch_unchecked(self, chunk: ChunkId) -> bytes:
        """Return whatever is there, as if an id had been made for it."""
        if chunk not in self.chunks:
            raise DamagedChunkError(chunk, "is nowhere")
        return self.chunks[chunk]

    def forget_calls(self) -> None:
        self.fetched.clear()
        self.stored.clear()

    def built(self, entries: Mapping[Key, Entry]) -> Child:
        return build(sorted(entries.items()), self.put)

    def tree(self, root: Child) -> Tree:
        return Tree(root.chunk_id, self.fetch)

    def reachable(self, root: Child) -> set[ChunkId]:
        return {chunk for chunk, _ in self.tree(root).nodes(lambda _: False)}


@contextmanager
def small_nodes(cut_bits: int = 2) -> Iterator[None]:
    """Cut nodes so that forty entries make a tree of several levels, with all kinds of cuts.

    Entries of MODELS are as long as some of UNIT_BYTES, so lengths are often exactly the limits.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutter, "NODE_BYTES_MIN", HEADER_BYTES + 4 * UNIT_BYTES)
        patch.setattr(cutter, "NODE_BYTES_MAX", HEADER_BYTES + 20 * UNIT_BYTES)
        patch.setattr(cutter, "ENTRY_BYTES_MAX", 10 * UNIT_BYTES)
        patch.setattr(cutter, "CHILD_BYTES_MAX", 2 * UNIT_BYTES)
        patch.setattr(cutter, "_LEAF_MASK", (1 << cut_bits) - 1 << 32 - cut_bits)
        patch.setattr(cutter, "_INNER_MASK", (1 << cut_bits) - 1)
        yield


def entry_of_units(key: Key, number: int, units: int) -> Entry:
    """Return one that takes a multiple of UNIT_BYTES in a leaf, with its place in the table."""
    shortest = len(encode(key, file_entry(number, attribute_bytes=1))) - 1 + TABLE_ENTRY_BYTES
    return file_entry(number, attribute_bytes=-shortest % UNIT_BYTES + units * UNIT_BYTES or 1)


def file_entry(number: int, *, attribute_bytes: int = 0) -> Entry:
    """Return one that no other number gives."""
    attributes = ((b"user.padding", bytes(attribute_bytes)),) if attribute_bytes else ()
    chunk = chunk_id(str(number).encode())
    return Entry(
        kind=Kind.FILE,
        mode=0o644,
        inode=number,
        attributes=attributes,
        content=Extents(size_bytes=number + 1, extents=(Extent(chunk, number + 1),)),
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


# ── Strategies ───────────────────────────────────────────────────────────────

# Neighbours of "a/…" in every direction: what sorts between "a\0" and "a/" is what goes wrong.
_FEW_NAMES = st.sampled_from([b"a", b"a.b", b"a\x01", b"a0", b"aa", b"b", b"\xff", b"\x01"])
_NAMES = st.one_of(
    _FEW_NAMES,
    st.binary(min_size=1, max_size=8).filter(
        lambda name: not set(name) & set(b"\0/") and name not in {b".", b".."}
    ),
)
PATHS = st.lists(_FEW_NAMES, min_size=1, max_size=4).map(b"/".join)
ANY_PATHS = st.lists(_NAMES, min_size=1, max_size=6).map(b"/".join)
KEYS = PATHS.map(key_of)

_CHUNKS = st.binary(min_size=32, max_size=32).map(ChunkId)
_EXTENTS = st.one_of(
    st.builds(Extent, _CHUNKS, st.integers(1, CHUNK_BYTES_MAX)),
    st.builds(Extent, st.none(), st.integers(1, 1 << 50)),
)
_U32 = st.integers(0, 2**32 - 1)


def _extents(extents: list[Extent]) -> Extents:
    return Extents(
        size_bytes=sum(extent.length_bytes for extent in extents), extents=tuple(extents)
    )


_FILES: st.SearchStrategy[Content] = st.one_of(
    st.builds(Inline, data=st.binary(max_size=INLINE_BYTES_MAX)),
    st.lists(_EXTENTS, max_size=4).map(_extents),
    st.builds(
        IndirectExtents,
        size_bytes=st.integers(0, 2**63 - 1),
        references=st.lists(
            st.builds(Extent, _CHUNKS, st.integers(1, CHUNK_BYTES_MAX)), min_size=1, max_size=3
        ).map(tuple),
    ),
)
_DEVICES = st.builds(
    Device,
    major=st.integers(0, DEVICE_MAJOR_MAX),
    minor=st.integers(0, DEVICE_MINOR_MAX),
)
_CONTENTS: dict[Kind, st.SearchStrategy[Content]] = {
    Kind.FILE: _FILES,
    Kind.FOLDER: st.none(),
    Kind.SYMBOLIC_LINK: st.builds(
        Target, path=st.binary(min_size=1, max_size=40).filter(lambda path: b"\0" not in path)
    ),
    Kind.FIFO: st.none(),
    Kind.CHARACTER_DEVICE: _DEVICES,
    Kind.BLOCK_DEVICE: _DEVICES,
    Kind.SOCKET: st.none(),
}
_ATTRIBUTES = st.dictionaries(
    st.binary(min_size=1, max_size=12).filter(is_attribute_name),
    st.binary(max_size=40),
    max_size=3,
).map(lambda attributes: tuple(sorted(attributes.items())))
_TIMES = st.one_of(
    st.integers(-(2**63) * 10**9, (2**63 - 1) * 10**9 + 999_999_999),
    st.integers(-(10**10), 10**10),
)


def _of_kind(kind: Kind) -> st.SearchStrategy[Entry]:
    return st.builds(
        Entry,
        kind=st.just(kind),
        mode=st.integers(0, 0o7777),
        user=_U32,
        group=_U32,
        modified_ns=_TIMES,
        changed_ns=_TIMES,
        inode=st.integers(0, 2**64 - 1),
        opaque=st.booleans() if kind is Kind.FOLDER else st.just(False),
        several_names=st.just(False) if kind is Kind.FOLDER else st.booleans(),
        attributes=_ATTRIBUTES,
        content=_CONTENTS[kind],
    )


ENTRIES = st.one_of(
    st.integers(0, VOLUMES - 1).map(deletion), *(_of_kind(kind) for kind in _CONTENTS)
)
NUMBERS_AND_UNITS = st.tuples(st.integers(0, 3), st.sampled_from([0, 0, 0, 1, 4]))
MODELS = st.dictionaries(KEYS, NUMBERS_AND_UNITS, max_size=80).map(
    lambda drawn: (
        {ROOT_KEY: ROOT} | {key: entry_of_units(key, *each) for key, each in drawn.items()}
    )
)
CUT_BITS = st.sampled_from([1, 2, 5, 32])
"""From such that nearly all nodes end where an entry says so to such that all have the largest
length."""
CHANGES = st.one_of(
    st.builds(
        lambda key, drawn: SetEntry(key=key, entry=entry_of_units(key, *drawn)),
        KEYS,
        NUMBERS_AND_UNITS,
    ),
    st.builds(RemoveEntry, key=KEYS),
    st.builds(RemoveSubtree, key=KEYS),
)
