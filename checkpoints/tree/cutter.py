"""Where one node ends and the next begins.

A node ends after an entry that says so, if it is 32 KiB long by then; or before an entry that would
make it longer than 512 KiB. Lengths are those of the whole node: header, entries and table.

One entry of 512 says so. In a leaf it is the key that decides, so what a file contains moves no
ends. In an inner node it is the child's id: its key follows one that ended a leaf, so keys there
are not like any others.

So what a node holds follows from where it begins and from the entries after it, from nothing else.
That is what makes trees share their nodes: as soon as, after a change, a node ends where one ended
before, all that follow are those from before. It takes one or two nodes. Only where no entry says
so, and all have the largest length, a change moves what follows, up to the next one that does.

An old node's entries are taken over in runs, without another look at each: one that was beyond the
32 KiB and did not end the node doesn't say so.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING
from zlib import crc32

from checkpoints.tree.entry import ENTRY_BYTES_MAX
from checkpoints.tree.node import (
    CHILD_BYTES_MAX,
    FILE_BYTES_MODULUS,
    HEADER_BYTES,
    NODE_BYTES_MAX,
    NODE_BYTES_MIN,
    TABLE_ENTRY_BYTES,
    Child,
    Node,
    assemble,
    child_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from checkpoints.tree.keys import Key
    from checkpoints.tree.node import Put

_CUT_BITS = 9
"""One entry of 512, so nodes have about 100 KiB."""
_LEAF_MASK = (1 << _CUT_BITS) - 1 << 32 - _CUT_BITS
_INNER_MASK = (1 << _CUT_BITS) - 1
_SPREAD = 2654435761
"""2^32 over the golden ratio. A CRC-32 is linear: of names that differ in a few digits, it has the
same bits in all of them, so that no name ends a node, or nearly every one. The product's highest
bits depend on all of the CRC's."""
_ID_BYTES = 8


def says_end_of_leaf(key: bytes) -> bool:
    """Return whether a leaf that is long enough ends after the entry with this key."""
    return crc32(key) * _SPREAD & _LEAF_MASK == _LEAF_MASK


def says_end_of_inner(item: bytes) -> bool:
    """Return whether an inner node that is long enough ends after this entry."""
    number = int.from_bytes(child_id(item)[:_ID_BYTES], "little")
    return number & _INNER_MASK == _INNER_MASK


def says_end(node: Node, number: int) -> bool:
    """Return whether a node that is long enough ends after this entry of a node."""
    if node.level:
        return says_end_of_inner(node.items(number, number + 1))
    return says_end_of_leaf(node.key(number))


def has_room_for_any(level: int, node_bytes: int) -> bool:
    """Return whether a node of that length doesn't end before the next entry, whatever it is."""
    item_bytes_max = CHILD_BYTES_MAX if level else ENTRY_BYTES_MAX
    return node_bytes + TABLE_ENTRY_BYTES + item_bytes_max <= NODE_BYTES_MAX


class Cutter:
    """The open node at the end of one level. Closed ones are put, then given to `emit`."""

    def __init__(self, level: int, put: Put, emit: Callable[[Child], None]) -> None:
        self.level = level
        self._put = put
        self._emit = emit
        self._source: Node | None = None
        self._source_child: Child | None = None
        self._taken = 0  # entries of the source that were taken over or dropped
        self._entries = 0  # below the open node and the rest of the source
        self._file_bytes = 0
        self._open()

    def _open(self) -> None:
        self._items: list[bytes] = []
        self._offsets = array("I")
        self._end = HEADER_BYTES
        self._first: Key | None = None
        self._only: tuple[Node, Child] | None = None  # the old node that all of it is from

    @property
    def is_empty(self) -> bool:
        """Whether a node ended just here."""
        return not self._offsets

    @property
    def count(self) -> int:
        """How many entries the open node has."""
        return len(self._offsets)

    @property
    def taken(self) -> int:
        """How many of the old node's entries are kept or dropped by now."""
        return self._taken

    @property
    def first_item(self) -> bytes:
        return self._items[0]

    @property
    def node_bytes(self) -> int:
        """How long the open node is by now."""
        return self._end + TABLE_ENTRY_BYTES * len(self._offsets)

    def has_room(self, item_bytes: int) -> bool:
        """Return whether the open node doesn't end before an entry of that length."""
        return self.node_bytes + TABLE_ENTRY_BYTES + item_bytes <= NODE_BYTES_MAX

    # A million entries come this way when a tree is built: 0.6 µs each.
    def add(self, key: Key, item: bytes, entries: int, file_bytes: int) -> None:
        """Take a new entry. Its key is larger than all before."""
        offsets = self._offsets
        end = self._end + len(item)
        if end + TABLE_ENTRY_BYTES * (len(offsets) + 1) > NODE_BYTES_MAX:
            self.close()
            offsets = self._offsets
            end = HEADER_BYTES + len(item)
        if not offsets:
            self._first = key
        offsets.append(self._end)
        self._items.append(item)
        self._end = end
        self._only = None
        self._entries += entries
        self._file_bytes += file_bytes
        if end + TABLE_ENTRY_BYTES * len(offsets) >= NODE_BYTES_MIN and (
            says_end_of_inner(item) if self.level else says_end_of_leaf(key)
        ):
            self.close()

    def begin(self, source: Node, child: Child) -> None:
        """Begin to take over an old node's entries; each is to be kept or dropped, in order."""
        assert self._source is None or self._taken == self._source.count
        self._source = source
        self._source_child = child
        self._taken = 0
        self._entries += child.entries
        self._file_bytes += child.file_bytes

    def drop(self, high: int) -> None:
        """Leave out the old node's next entries, up to but without `high`."""
        assert self._source is not None
        entries, file_bytes = self._source.weigh(self._taken, high)
        self._entries -= entries
        self._file_bytes -= file_bytes
        self._taken = high

    def keep(self, high: int) -> None:
        """Take the old node's next entries, up to but without `high`, as they are."""
        source = self._source
        assert source is not None
        while (low := self._taken) < high:
            stop, closes = self._run(source, low, high)
            if stop > low:
                self._take(source, low, stop)
            if closes:
                self.close()

    def _run(self, source: Node, low: int, high: int) -> tuple[int, bool]:
        """Return how far the open node reaches in a run, and whether it ends there."""
        before = source.offsets[low] + TABLE_ENTRY_BYTES * low
        shift = self.node_bytes - before

        def reaching(length: int) -> int:
            return bisect_left(range(high), length, low, key=source.length_up_to)

        stop = high
        if source.length_up_to(high - 1) + shift > NODE_BYTES_MAX:
            stop = reaching(NODE_BYTES_MAX - shift + 1)
        untried = range(0)
        if shift > 0:
            untried = range(reaching(NODE_BYTES_MIN - shift), min(reaching(NODE_BYTES_MIN), stop))
        for number in untried:
            if says_end(source, number):
                return number + 1, True
        if stop == source.count and says_end(source, stop - 1):
            return stop, source.length_up_to(stop - 1) + shift >= NODE_BYTES_MIN
        return stop, stop < high

    def _take(self, source: Node, low: int, high: int) -> None:
        old = source.offsets[low:high]
        moved = self._end - old[0]
        if not self._offsets:
            self._first = source.key(low)
            assert self._source_child is not None
            self._only = source, self._source_child
        elif self._only is not None and self._only[0] is not source:
            self._only = None
        items = source.items(low, high)
        self._offsets.extend([offset + moved for offset in old.tolist()] if moved else old)
        self._items.append(items)
        self._end += len(items)
        self._taken = high

    def close(self) -> None:
        """End the open node, if it has entries."""
        if not self._offsets:
            return
        rest = (0, 0)
        if self._source is not None and self._taken < self._source.count:
            rest = self._source.weigh(self._taken, self._source.count)
        if self._only is not None and self._only[0].count == len(self._offsets):
            child = self._only[1]
        else:
            assert self._first is not None
            raw = assemble(self.level, self._items, self._offsets, self._end)
            assert len(raw) <= NODE_BYTES_MAX
            child = Child(
                key=self._first,
                chunk_id=self._put(raw),
                raw_bytes=len(raw),
                entries=self._entries - rest[0],
                file_bytes=(self._file_bytes - rest[1]) % FILE_BYTES_MODULUS,
            )
        self._entries, self._file_bytes = rest
        self._open()
        self._emit(child)
