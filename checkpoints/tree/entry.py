"""What a tree says about one name."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import msgspec

from checkpoints.tree.extents import Extent

if TYPE_CHECKING:
    from checkpoints.format.ids import ChunkId

ENTRY_BYTES_MAX = 256 * 1024
INLINE_BYTES_MAX = 192
"""A file's bytes are in its entry up to here: a chunk of their own would cost about as many."""
TARGET_BYTES_MAX = 4096
ATTRIBUTE_BYTES_MAX = 64 * 1024
ATTRIBUTES_BYTES_MAX = 128 * 1024
"""Names and values of one entry together."""
ATTRIBUTE_NAME_BYTES_MAX = 255
ATTRIBUTES_MAX = 0xFFFF
"""So many can be counted. An entry with more would be too long in any case."""
MODE_MAX = 0o7777


class RefusedError(Exception):
    """Something can't be kept, because it is beyond a limit of the format. The text names it."""


class Kind(IntEnum):
    """What a name stands for."""

    FILE = 1
    FOLDER = 2
    SYMBOLIC_LINK = 3
    FIFO = 4
    CHARACTER_DEVICE = 5
    BLOCK_DEVICE = 6
    SOCKET = 7
    DELETION = 8
    """Nothing: what the layers below have of this name is gone."""


class _Value(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Structs, because they are made four times as fast as dataclasses, by the million."""


class Inline(_Value, frozen=True, kw_only=True, gc=False):
    """All bytes of a small file."""

    data: bytes


class Extents(_Value, frozen=True, kw_only=True, gc=False):
    """Where a file's bytes are, from the first to the last."""

    size_bytes: int
    extents: tuple[Extent, ...]


class IndirectExtents(_Value, frozen=True, kw_only=True, gc=False):
    """Where the list of a file's extents is: in these chunks, one after the other."""

    size_bytes: int
    references: tuple[Extent, ...]


class Target(_Value, frozen=True, kw_only=True, gc=False):
    """What a symbolic link says."""

    path: bytes


class Device(_Value, frozen=True, kw_only=True, gc=False):
    """Which device a node is."""

    major: int
    minor: int


Content = Inline | Extents | IndirectExtents | Target | Device | None


class Entry(_Value, frozen=True, kw_only=True, gc=False):
    """What a tree says about one name."""

    kind: Kind
    mode: int = 0
    """Permission bits, setuid, setgid, sticky."""
    user: int = 0
    group: int = 0
    modified_ns: int = 0
    """Since 1970; before it, negative."""
    changed_ns: int = 0
    """`ctime`, since 1970: what has the same, and the same inode, is unchanged."""
    inode: int = 0
    """Made by `inode_of`: a volume's number and an inode's there."""
    opaque: bool = False
    """Of a folder: nothing of the layers below it is visible."""
    several_names: bool = False
    """Others with the same inode number are the same file."""
    attributes: tuple[tuple[bytes, bytes], ...] = ()
    """Names and values, ascending by name."""
    content: Content = None

    @property
    def size_bytes(self) -> int:
        """How long a file is; 0 of all others."""
        content = self.content
        if isinstance(content, (Extents, IndirectExtents)):
            return content.size_bytes
        return len(content.data) if isinstance(content, Inline) else 0

    def chunks(self) -> list[ChunkId]:
        """Return the chunks that the entry itself names, in order."""
        content = self.content
        if isinstance(content, Extents):
            extents = content.extents
        elif isinstance(content, IndirectExtents):
            extents = content.references
        else:
            return []
        return [extent.chunk_id for extent in extents if extent.chunk_id is not None]


DELETION = Entry(kind=Kind.DELETION)

DEVICE_MAJOR_MAX = (1 << 12) - 1
DEVICE_MINOR_MAX = (1 << 20) - 1
"""What Linux has of device numbers."""

OVERLAY = b"trusted.overlay."
"""What overlay's own attributes begin with."""
_OVERLAY_INSIDE = b"trusted.overlay.overlay."


def is_attribute_name(name: bytes) -> bool:
    """Return whether an entry may have it: not overlay's own, which would show what isn't there.

    Those of an overlay that was mounted inside are kept.
    """
    if not name or b"\0" in name:
        return False
    return not name.startswith(OVERLAY) or name.startswith(_OVERLAY_INSIDE)


VOLUMES = 1 << 16
"""Numbers that volumes can have; after the last comes 0 again. Two volumes with one number could be
mistaken for one only if a file outlived all others between them."""
_NUMBER_BITS = 48


def deletion(volume: int) -> Entry:
    """Return a deletion that a volume holds."""
    return Entry(kind=Kind.DELETION, inode=inode_of(volume, 0))


def is_deletion(entry: Entry) -> bool:
    """Return whether it is a deletion, and has nothing that a deletion can't have."""
    return entry == deletion(volume_of(entry.inode))


def inode_of(volume: int, number: int) -> int:
    """Return what an entry has for an inode of a volume. Raises RefusedError."""
    if number >> _NUMBER_BITS:
        raise RefusedError(f"Inode {number} is too large: no file system of a volume has such.")
    return volume << _NUMBER_BITS | number


def volume_of(inode: int) -> int:
    """Return the number of the volume that an entry was captured from."""
    return inode >> _NUMBER_BITS
