"""Many small `index/moved` become one, without chunks that nobody needs.

What is found through the new one isn't found through the old ones any more, which are then without
use, and go as all indexes do. A record that needs what was left out still finds it through them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from checkpoints.format import names
from checkpoints.format.ids import new_pack_id
from checkpoints.format.index import IndexBuilder, name_of_moved, named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checkpoints.collecting.marks import Marks
    from checkpoints.format.index import Index
    from checkpoints.repository import Repository

CHUNKS_MAX = 1_000_000
"""In a folded one: 52 MB. Larger ones stay as they are."""

_log = structlog.get_logger()


async def fold(
    repository: Repository, moved: Mapping[str, Index], marks: Marks, *, indexes_max: int
) -> int:
    """Fold the smallest moved indexes, given the latest first, if there are too many."""
    chosen = to_fold(moved, indexes_max)
    if not chosen:
        return 0
    data, count = await asyncio.to_thread(_folded, [moved[key] for key in chosen], marks)
    if not count:
        return 0
    name = new_pack_id(repository.rng)  # its first pack's is taken
    await repository.storage.put_new(names.moved(name), named(data, name_of_moved(name)))
    _log.info("collection_indexes_folded", indexes=len(chosen), chunks=count)
    return len(chosen)


def to_fold(moved: Mapping[str, Index], indexes_max: int) -> list[str]:
    """Return which become one, the latest first, so that half of `indexes_max` are left."""
    if len(moved) <= indexes_max:
        return []
    chosen: set[str] = set()
    chunks = 0
    for key in sorted(moved, key=lambda key: len(moved[key])):
        chunks += len(moved[key])
        if len(moved) - len(chosen) < indexes_max // 2 or chunks > CHUNKS_MAX:
            break
        chosen.add(key)
    return [key for key in moved if key in chosen] if len(chosen) > 1 else []


def _folded(indexes: list[Index], marks: Marks) -> tuple[bytes, int]:
    """Return one index of all chunks that are needed where these say they are, and how many."""
    builder = IndexBuilder()
    count = 0
    offsets: dict[bytes, set[int]] = {}
    for index in indexes:
        for chunk, place in index.items():
            pack_id = place.pack.pack_id
            if pack_id not in offsets:
                offsets[pack_id] = {each.offset for each in marks.stretches(pack_id)}
            if place.offset in offsets[pack_id]:
                builder.add(chunk, place)
                count += 1
    return builder.finish(), count
