"""What btrfs keeps of an inode, and of its names (pure): as in linux/btrfs_tree.h.

All is little-endian, and the kernel has checked it when it read the leaf. Offsets are not checked
again here beyond what keeps a reader within the item.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

INODE_ITEM = 1
INODE_REF = 12
INODE_EXTREF = 13
"""Names that didn't fit into one INODE_REF: those of a file with hundreds in one folder."""
ROOT_REF = 156

_INODE = struct.Struct("<8xQ24xI")  # generation · transid · size, nbytes, block_group · nlink
_NAME = struct.Struct("<8xH")  # index · length, before each name of an INODE_REF
_FAR_NAME = struct.Struct("<Q8xH")  # parent · index · length, before each of an INODE_EXTREF
_ROOT_REF = struct.Struct("<16xH")  # folder, sequence · length, before its one name


class Inode(NamedTuple):
    """As it was last written."""

    transaction: int
    """The one in which it was touched last: content, attributes, links, or names in it."""
    names: int
    """How many it has. A folder has one; what is deleted and held open has none."""


class Name(NamedTuple):
    """One of an inode's names."""

    folder: int
    """The number of the folder's inode."""
    name: bytes


def inode_of(data: bytes) -> Inode:
    """Parse an INODE_ITEM."""
    return Inode(*_INODE.unpack_from(data))


def names_of(kind: int, offset: int, data: bytes) -> Iterator[Name]:
    """Parse an INODE_REF or an INODE_EXTREF, found at a key with that offset."""
    at = 0
    while at < len(data):
        if kind == INODE_REF:
            folder, (size,) = offset, _NAME.unpack_from(data, at)
            at += _NAME.size
        else:
            folder, size = _FAR_NAME.unpack_from(data, at)
            at += _FAR_NAME.size
        yield Name(folder, data[at : at + size])
        at += size


def name_of_root(data: bytes) -> bytes:
    """Parse a ROOT_REF: under which name a subvolume is in another."""
    (size,) = _ROOT_REF.unpack_from(data)
    return data[_ROOT_REF.size : _ROOT_REF.size + size]
