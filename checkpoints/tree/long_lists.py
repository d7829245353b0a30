"""Lists of extents that are too long for an entry, in chunks of their own.

The chunks' bytes, one after the other, are those of the list. An extent may begin in one and end in
the next.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import msgspec

from checkpoints.format.damage import DamagedChunkError, DamagedError
from checkpoints.tree.entry import ENTRY_BYTES_MAX, Extents, IndirectExtents, Inline, RefusedError
from checkpoints.tree.entry_bytes import encode
from checkpoints.tree.extents import (
    COUNT,
    FILE_EXTENTS_MAX,
    Extent,
    check_sum,
    decode_extent,
    encode_extents,
)
from checkpoints.tree.keys import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checkpoints.tree.entry import Entry
    from checkpoints.tree.keys import Key
    from checkpoints.tree.node import Fetch, Put

PIECE_BYTES = 512 * 1024
"""How long each chunk of a list is: as long as a node can be."""
_SURELY_SHORT = 1000
"""So many extents have room beside all other fields, whatever they hold."""


def fitted(key: Key, entry: Entry, put: Put) -> Entry:
    """Return the entry, its list of extents moved out to `put` if it would make it too long."""
    content = entry.content
    if not isinstance(content, Extents) or len(content.extents) <= _SURELY_SHORT:
        return entry
    if len(content.extents) > FILE_EXTENTS_MAX:
        raise RefusedError(
            f"{path_of(key)!r} has {len(content.extents)} pieces and holes, and at most "
            f"{FILE_EXTENTS_MAX} can be kept: copy it to a file with fewer holes."
        )
    data = encode_extents(content.extents)
    without = encode(key, msgspec.structs.replace(entry, content=Inline(data=b"")))
    if len(without) + len(data) <= ENTRY_BYTES_MAX:
        return entry
    pieces = [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]
    moved = IndirectExtents(
        size_bytes=content.size_bytes,
        references=tuple(Extent(put(piece), len(piece)) for piece in pieces),
    )
    return msgspec.structs.replace(entry, content=moved)


def extents_of(content: Extents | IndirectExtents, fetch: Fetch) -> Iterator[Extent]:
    """Yield a file's extents, wherever their list is, or raise DamagedError.

    What was yielded before an error is right; that the list is whole shows at its end.
    """
    if isinstance(content, Extents):
        yield from content.extents
        return
    total = 0
    for extent in _listed(content, fetch):
        total += extent.length_bytes
        yield extent
    check_sum(total, content.size_bytes)


def _listed(content: IndirectExtents, fetch: Fetch) -> Iterator[Extent]:
    rest = b""
    left: int | None = None
    for reference in content.references:
        assert reference.chunk_id is not None
        piece = fetch(reference.chunk_id)
        if len(piece) != reference.length_bytes:
            raise DamagedChunkError(reference.chunk_id, "it is not what was referred to")
        data = rest + piece
        at = 0
        if left is None and len(data) >= COUNT.size:
            (left,) = COUNT.unpack_from(data)
            if left > FILE_EXTENTS_MAX:
                raise DamagedChunkError(reference.chunk_id, f"a file has {left} extents")
            at = COUNT.size
        while left:
            try:
                extent, at = decode_extent(data, at)
            except (struct.error, IndexError):
                break  # it ends in the next piece
            except DamagedError as error:
                raise DamagedChunkError(reference.chunk_id, str(error)) from None
            left -= 1
            yield extent
        rest = data[at:]
        if left == 0 and rest:
            break  # and whatever else there is, isn't read
    if left != 0 or rest:
        last = content.references[-1].chunk_id
        assert last is not None
        raise DamagedChunkError(last, "a list of extents has another length than its parts")
