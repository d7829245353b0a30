"""What a write is to do, and what of before it can't go by: some of that was found damaged.

An entry that stands for an unchanged file names chunks that nobody asks about. So where a pack has
a mark that any of them may be in, the tree of before says nothing: all is read again, and what is
in no other pack is stored anew.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from checkpoints.writing.reliance import unfit_packs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from checkpoints.format.ids import PackId
    from checkpoints.format.index import Index
    from checkpoints.repository import Repository
    from checkpoints.writing.capture import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a write is to do."""

    folder: Path
    originals: Path | None
    changed: Sequence[bytes] | None
    progress: Callable[[Progress], None] | None
    final: bool
    prefetch: tuple[str, ...]
    hurt: frozenset[PackId] = frozenset()
    """Packs with a mark that the generation before may need: its tree isn't gone by."""


async def considered(
    repository: Repository, wish: Wish, own: Sequence[Index], *, healed: Collection[PackId]
) -> tuple[Wish, frozenset[PackId]]:
    """Return the wish, changed where there is damage, and which packs aren't to be relied on.

    `own` are the indexes of the generation before, `healed` packs that it surely needs no more
    than can be helped.
    """
    unfit = await unfit_packs(repository)
    if suspected := unfit.damaged - frozenset(healed):
        moved = await repository.moved()
        if hurt := await asyncio.to_thread(_needed, suspected, own, moved):
            wish = replace(wish, changed=None, hurt=hurt)
    return wish, unfit.all


def _needed(
    packs: frozenset[PackId], own: Sequence[Index], moved: Sequence[Index]
) -> frozenset[PackId]:
    """Return in which packs chunks of a checkpoint may be: by its indexes, or moved there."""
    found = {pack.pack_id for index in own for pack in index.packs} & packs
    for index in moved:
        if not any(pack.pack_id in packs for pack in index.packs):
            continue
        for chunk, place in index.items():
            pack_id = place.pack.pack_id
            if pack_id in packs and pack_id not in found and any(chunk in each for each in own):
                found.add(pack_id)
    return frozenset(found)
