"""Items of btrfs's trees, read by key: `BTRFS_IOC_TREE_SEARCH_V2`.

A tree maps keys (object, kind, offset), ordered in this way, to items. They lie in leaves, and each
leaf has the number of the transaction that wrote it. Asked for those newer than a transaction, the
kernel never descends to where nothing is: it costs what has changed. But a leaf is written as a
whole, so what is returned may be old.

Needs CAP_SYS_ADMIN. The interpreter's lock is given up for as long as the kernel searches.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from agent.volume import syscalls

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator

SAME_TREE = 0
"""The tree of the subvolume that the descriptor is of."""
ROOT_TREE = 1
"""The tree of trees."""
NUMBER_MAX = 2**64 - 1
KIND_MAX = 255

SCAN_BYTES = 1024**2
"""A buffer for many items: some fifty leaves. Of 256 KiB and 4 MiB none is measurably quicker."""
LOOKUP_BYTES = 72 * 1024
"""A buffer for a few. No item is longer than a leaf, and a leaf never longer than 64 KiB; the
kernel touches the whole buffer at each call."""

_KEY = struct.Struct("=7Q4I4Q")  # struct btrfs_ioctl_search_key
_SIZE = struct.Struct("=Q")  # what makes it btrfs_ioctl_search_args_v2
_FOUND = struct.Struct("=I")
_FOUND_AT = 64  # where `nr_items` is
_HEADER = struct.Struct("=3Q2I")  # struct btrfs_ioctl_search_header
_DATA_AT = _KEY.size + _SIZE.size
_SEARCH = syscalls.request_both(0x94, 17, _DATA_AT)
_ITEMS_MAX = 2**32 - 1


class Key(NamedTuple):
    """Where an item is in its tree."""

    number: int
    kind: int = 0
    offset: int = 0


class Item(NamedTuple):
    """What a tree has at a key."""

    number: int
    kind: int
    offset: int
    data: bytes


class TreeSearch:
    """Reads one tree. For one thread, and one search at a time: they share the buffer."""

    def __init__(self, fd: int, tree: int, *, buffer_bytes: int) -> None:
        """`fd` is any file or folder of the file system. It stays the caller's."""
        self._fd = fd
        self._tree = tree
        self._buffer = bytearray(_DATA_AT + buffer_bytes)
        self._buffer_bytes = buffer_bytes

    def items(
        self, first: Key, last: Key, kinds: Collection[int], *, since: int = 0
    ) -> Iterator[Item]:
        """Yield items between two keys, both included, ascending, if they are of these kinds.

        With `since`, all from leaves that were written after that transaction, and none from
        others. Raises OSError.
        """
        at: Key | None = first
        while at is not None:
            count = self._fill(at, last, since)
            if not count:
                return
            at = yield from self._filled(count, kinds)

    def _fill(self, first: Key, last: Key, since: int) -> int:
        _KEY.pack_into(
            self._buffer,
            0,
            self._tree,
            first.number,
            last.number,
            first.offset,
            last.offset,
            since + 1,
            NUMBER_MAX,
            first.kind,
            last.kind,
            _ITEMS_MAX,
            *(0,) * 5,
        )
        _SIZE.pack_into(self._buffer, _KEY.size, self._buffer_bytes)
        syscalls.ioctl(self._fd, _SEARCH, self._buffer)
        count: int = _FOUND.unpack_from(self._buffer, _FOUND_AT)[0]
        return count

    def _filled(self, count: int, kinds: Collection[int]) -> Generator[Item, None, Key | None]:
        """Yield what is in the buffer; returns the key to go on with."""
        buffer, unpack, header_bytes = self._buffer, _HEADER.unpack_from, _HEADER.size
        at, number, kind, offset = _DATA_AT, 0, 0, 0
        for _ in range(count):
            _, number, offset, kind, size = unpack(buffer, at)
            at += header_bytes
            if kind in kinds:
                yield Item(number, kind, offset, bytes(buffer[at : at + size]))
            at += size
        return following(Key(number, kind, offset))


def following(key: Key) -> Key | None:
    """Return the least key above; None if there is none."""
    number, kind, offset = key
    if offset < NUMBER_MAX:
        return Key(number, kind, offset + 1)
    if kind < KIND_MAX:
        return Key(number, kind + 1)
    return Key(number + 1) if number < NUMBER_MAX else None
