"""How large the file system is that an image begins with: the few fields that say so. Pure.

Each kind leaves alone where the others have theirs, in this order: XFS begins with its own, ext4
leaves the first kilobyte, and btrfs the first 64. So what a program has written into a file is not
taken for one, if those are asked first that begin first: see `kinds.IN_IMAGES`.
"""

from __future__ import annotations

import struct

HEAD_BYTES = 68 * 1024
"""Enough for all of them: btrfs's has 4 KiB and begins at 64."""

_XFS = struct.Struct(">4sIQ")  # xfs_format.h: magic, blocksize, dblocks
_XFS_MAGIC = b"XFSB"
_EXT4_OFFSET = 1024  # ext4.h
_EXT4_BLOCKS_LOW, _EXT4_BLOCK_SHIFT, _EXT4_MAGIC_AT = 4, 24, 56
_EXT4_INCOMPATIBLE, _EXT4_BLOCKS_HIGH = 96, 336
_EXT4_MAGIC, _EXT4_64_BIT = 0xEF53, 0x80
_BTRFS_OFFSET = 64 * 1024  # on-disk format of btrfs
_BTRFS_MAGIC_AT, _BTRFS_MAGIC = 64, b"_BHRfS_M"
_BTRFS_DEVICE_BYTES = 209  # total_bytes of the device item in the superblock


def btrfs_bytes(head: bytes) -> int | None:
    """Return the size of the btrfs that begins with `head`; None if there is none."""
    at = _BTRFS_OFFSET + _BTRFS_MAGIC_AT
    if head[at : at + len(_BTRFS_MAGIC)] != _BTRFS_MAGIC:
        return None
    (size_bytes,) = struct.unpack_from("<Q", head, _BTRFS_OFFSET + _BTRFS_DEVICE_BYTES)
    return int(size_bytes)


def xfs_bytes(head: bytes) -> int | None:
    """Return the size of the XFS that begins with `head`; None if there is none."""
    magic, block_bytes, blocks = _XFS.unpack_from(head)
    return int(block_bytes * blocks) if magic == _XFS_MAGIC else None


def ext4_bytes(head: bytes) -> int | None:
    """Return the size of the ext4 that begins with `head`; None if there is none."""
    (magic,) = struct.unpack_from("<H", head, _EXT4_OFFSET + _EXT4_MAGIC_AT)
    if magic != _EXT4_MAGIC:
        return None
    low, shift, features, high = (
        struct.unpack_from("<I", head, _EXT4_OFFSET + field)[0]
        for field in (
            _EXT4_BLOCKS_LOW,
            _EXT4_BLOCK_SHIFT,
            _EXT4_INCOMPATIBLE,
            _EXT4_BLOCKS_HIGH,
        )
    )
    blocks = low | (high << 32 if features & _EXT4_64_BIT else 0)
    return int(blocks << min(10 + shift, 16))
