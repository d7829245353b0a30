"""Which packs are worth rewriting. Pure.

- less than half of what is in one is needed
- it was found damaged, and something is needed of it that may be whole
- it has a tombstone that can't be taken away any more, and yet something of it is needed
- it is a week old, and was not written by a collection: then it is compressed better, once. Also
  what was stored raw: a first write leaves so whatever doesn't shrink much in a hurry
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from checkpoints.format.pack import ENTRY_BYTES, TRAILER_BYTES, PackEntry

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from checkpoints.collecting.doom import Doom, Situation
    from checkpoints.collecting.listing import ListedPack
    from checkpoints.collecting.marks import Marks, Stretch
    from checkpoints.collecting.settings import Settings
    from checkpoints.format.ids import PackId
    from checkpoints.format.pack import PackKind


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pack to be rewritten."""

    kind: PackKind
    pack_id: PackId
    object_bytes: int
    salvaged: tuple[PackEntry, ...] | None = None
    """Of a damaged one: what is needed and may be whole, by offset. Its own table may be wrong."""


def choose(
    situation: Situation,
    plan: Doom,
    marks: Marks,
    rewritten: Collection[PackId],
    settings: Settings,
) -> list[Candidate]:
    """Return what to rewrite, the oldest first, as much as one collection does.

    `rewritten` are packs that collections have written: compressing them again gains nothing.
    """
    chosen = []
    for pack_id in situation.needed_packs:
        pack = situation.packs.get(pack_id)
        if pack is None or situation.began - pack.modified < settings.unused_age:
            continue
        if pack_id in situation.damage_marks:
            is_worth_it = pack_id in situation.salvageable
        elif pack_id in situation.tombstones:
            is_worth_it = pack_id in plan.contradicted
        else:
            stretches = marks.stretches(pack_id)
            is_worth_it = _is_half_empty(pack, stretches, settings) or (
                pack_id not in rewritten
                and situation.began - pack.modified >= settings.recompressed_age
            )
        if is_worth_it:
            chosen.append((pack.kind, pack.modified, pack_id, pack.object_bytes))
    found: list[Candidate] = []
    total_bytes = 0
    for kind, _, pack_id, object_bytes in sorted(chosen):
        total_bytes += object_bytes
        if total_bytes > settings.rewritten_bytes_max and found:
            break
        found.append(Candidate(kind, pack_id, object_bytes, _salvaged(situation, pack_id)))
    return found


def _salvaged(situation: Situation, pack_id: PackId) -> tuple[PackEntry, ...] | None:
    if pack_id not in situation.damage_marks:
        return None
    entries = [
        PackEntry(chunk, at.offset, at.stored_bytes, at.raw_bytes, at.codec)
        for chunk, at in situation.salvageable[pack_id].items()
    ]
    return tuple(sorted(entries, key=lambda entry: entry.offset))


def _is_half_empty(pack: ListedPack, stretches: Sequence[Stretch], settings: Settings) -> bool:
    needed_bytes = sum(stretch.stored_bytes + ENTRY_BYTES for stretch in stretches)
    return needed_bytes < settings.rewritten_share_max * (pack.object_bytes - TRAILER_BYTES)
