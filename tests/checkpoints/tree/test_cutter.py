"""Nodes have sane lengths, whatever names are like."""

from __future__ import annotations

import random
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from checkpoints.format.ids import ChunkId, chunk_id
from checkpoints.tree import cutter
from checkpoints.tree.cutter import Cutter
from checkpoints.tree.entry import Entry, Extents, Kind
from checkpoints.tree.entry_bytes import encode
from checkpoints.tree.extents import Extent
from checkpoints.tree.keys import Key, key_of
from checkpoints.tree.node import NODE_BYTES_MAX, NODE_BYTES_MIN, Child, encode_child

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KIB = 1024
COUNT = 100_000
LIKE_OTHERS = Entry(
    kind=Kind.FILE,
    content=Extents(size_bytes=5000, extents=(Extent(ChunkId(bytes(32)), 5000),)),
)
AFTER_KEY = encode(Key(b""), LIKE_OTHERS)[2:]
ALPHABET = [bytes([letter]) for letter in range(ord("a"), ord("z") + 1)]
NAMES: dict[str, Callable[[int], bytes]] = {
    "digits in one folder": lambda number: b"data/%06d" % number,
    "zeros and ones": lambda number: b"data/" + f"{number:017b}".encode(),
    "octal": lambda number: b"data/f%06o.py" % number,
    "the same twice": lambda number: b"data/f%06d_%06d.c" % (number, number),
    "the root folder's": lambda number: b"%d" % number,
    "hexadecimal": lambda number: b"objects/%02x/%04x" % (number % 256, number),
    "packages": lambda number: b"lib/python3/pkg%04d/module_%05d.py" % (number % 3000, number),
    "very deep": lambda number: b"/".join(b"%d" % (number >> bit & 1) for bit in range(30)) + b"/f",
    "letters": lambda number: b"/".join(ALPHABET[number // 26**n % 26] for n in range(4)),
}


def lengths_of_leaves(keys: Sequence[Key]) -> list[int]:
    children: list[Child] = []
    leaves = Cutter(0, chunk_id, children.append)
    for key in keys:
        leaves.add(key, len(key).to_bytes(2, "little") + key + AFTER_KEY, 1, 5000)
    return [child.raw_bytes for child in children]


def lengths_of_inner_nodes(keys: Sequence[Key]) -> list[int]:
    """Return those above leaves that end as those of a tree of keys do, but more often."""
    children: list[Child] = []
    inner = Cutter(1, chunk_id, children.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutter, "_LEAF_MASK", 0x8000_0000)
        firsts = [key for last, key in pairwise(keys) if cutter.says_end_of_leaf(last)]
    for key in firsts:
        child = Child(key=key, chunk_id=chunk_id(key), raw_bytes=1, entries=1, file_bytes=1)
        inner.add(key, encode_child(child), 1, 1)
    return [child.raw_bytes for child in children]


@pytest.mark.parametrize("lengths_of", [lengths_of_leaves, lengths_of_inner_nodes])
@pytest.mark.parametrize("name_of", NAMES.values(), ids=NAMES)
def test_nodes_have_sane_lengths_whatever_names_are_like(
    name_of: Callable[[int], bytes], lengths_of: Callable[[Sequence[Key]], list[int]]
) -> None:
    keys = sorted(key_of(name_of(number)) for number in range(COUNT))
    lengths = lengths_of(keys)
    assert len(lengths) > 20
    assert min(lengths) >= NODE_BYTES_MIN
    assert 55 * KIB < sum(lengths) / len(lengths) < 130 * KIB
    longest = sum(length > NODE_BYTES_MAX - KIB for length in lengths)
    assert longest <= len(lengths) / 100, "chance makes a few of the longest entries' nodes so"


# ── As the format says it, word by word ──────────────────────────────────────


def node_lengths_by_the_format(entries: Sequence[tuple[bytes, bool]]) -> list[int]:
    """Return the lengths of all nodes but the last of entries, which do or don't say it ends."""
    lengths = []
    length = 16
    for item, says_end in entries:
        if length + len(item) + 4 > 512 * 1024:
            lengths.append(length)
            length = 16
        length += len(item) + 4
        if says_end and length >= 32 * 1024:
            lengths.append(length)
            length = 16
    return lengths


@pytest.mark.parametrize("longest", [100, 3000])
def test_leaves_end_where_the_format_says(longest: int) -> None:
    rng = random.Random(longest)
    children: list[Child] = []
    leaves = Cutter(0, chunk_id, children.append)
    entries = []
    for number in range(20_000):
        key = key_of(b"%06d" % number)
        item = len(key).to_bytes(2, "little") + key + bytes(rng.randrange(50, longest))
        leaves.add(key, item, 1, 0)
        product = zlib.crc32(key) * 2654435761 % 2**32
        entries.append((item, f"{product:032b}".startswith("1" * 9)))
    lengths = [child.raw_bytes for child in children]
    assert lengths == node_lengths_by_the_format(entries)
    assert len(lengths) > 10
    assert (max(lengths) > NODE_BYTES_MAX - longest) == (longest == 3000)


@pytest.mark.parametrize("longest", [100, 3000])
def test_inner_nodes_end_where_the_format_says(longest: int) -> None:
    rng = random.Random(longest)
    children: list[Child] = []
    inner = Cutter(1, chunk_id, children.append)
    entries = []
    for number in range(20_000):
        key = Key(b"%06d" % number + b"/x" * rng.randrange(longest // 2) + b"\0f")
        child_id = ChunkId(rng.randbytes(32))
        child = Child(key=key, chunk_id=child_id, raw_bytes=1, entries=1, file_bytes=1)
        item = encode_child(child)
        inner.add(key, item, 1, 1)
        low_bits = int.from_bytes(child_id[:8], "little") % 512
        entries.append((item, low_bits == 511))
    lengths = [child.raw_bytes for child in children]
    assert lengths == node_lengths_by_the_format(entries)
    assert len(lengths) > 10
    assert (max(lengths) > NODE_BYTES_MAX - longest) == (longest == 3000)
