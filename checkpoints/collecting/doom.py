"""What is announced, what loses its announcement, what goes. Pure.

    a pack    no marked chunk, 24 h old, found so twice, 4 h apart     → a tombstone
              found so again by a collection that began 24 h later     → deleted
              a marked chunk, and a tombstone of some hours            → loses the tombstone
              a marked chunk, and an older tombstone                   → rewritten (see `Settings`)
    an index  nothing is found through it, 24 h old, found so twice    → deleted

All times are the store's. Why this is enough is in `docs/checkpoint-format.md`, "What is kept".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from checkpoints.format.collection import Findings

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from checkpoints.collecting.listing import ListedPack
    from checkpoints.collecting.settings import Settings
    from checkpoints.format.ids import ChunkId, PackId
    from checkpoints.format.index import ChunkPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a collection knows when all is marked."""

    began: datetime
    packs: Mapping[PackId, ListedPack]
    tombstones: Mapping[PackId, datetime]
    """Listed before packs were, so that one without a pack has outlived it."""
    damage_marks: Mapping[PackId, datetime] = field(default_factory=dict)
    """Of packs that were found damaged. Listed before packs, too."""
    salvageable: Mapping[PackId, Mapping[ChunkId, ChunkPlace]] = field(default_factory=dict)
    """What is needed of them, and may be whole."""
    indexes: Mapping[str, datetime]
    """By name, of generations and moved ones."""
    needed_packs: Collection[PackId]
    needed_indexes: Collection[str]
    before: Findings
    """Of the latest collection that ended long enough before this one began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doom:
    """What is to be done about it. All in the order of ids and names."""

    findings: Findings
    announced: tuple[PackId, ...]
    revived: tuple[PackId, ...]
    contradicted: frozenset[PackId]
    """Needed, but announced so long ago that others may act on it: to be rewritten."""
    deleted_packs: tuple[PackId, ...]
    deleted_indexes: tuple[str, ...]
    outlived: tuple[PackId, ...]
    """Tombstones of packs that are gone."""
    outlived_marks: tuple[PackId, ...]
    """The same of marks, but only of old ones: a pack may be missing, and be needed."""
    waiting: int
    """Packs that have a tombstone, and have to wait."""


def doom(situation: Situation, settings: Settings) -> Doom:
    """Decide on everything that was listed."""
    began, tombstones, before = situation.began, situation.tombstones, situation.before
    unused = {
        pack_id
        for pack_id, pack in situation.packs.items()
        if pack_id not in situation.needed_packs and began - pack.modified >= settings.unused_age
    }
    useless = {
        key
        for key, modified in situation.indexes.items()
        if key not in situation.needed_indexes and began - modified >= settings.unused_age
    }
    ends = {
        pack_id
        for pack_id in unused & before.packs & tombstones.keys()
        if began - tombstones[pack_id] >= settings.tombstone_age
    }
    needed = {
        pack_id: began - modified
        for pack_id, modified in tombstones.items()
        if pack_id in situation.needed_packs
    }
    return Doom(
        findings=Findings(packs=frozenset(unused), indexes=frozenset(useless)),
        announced=tuple(sorted((unused & before.packs) - tombstones.keys())),
        revived=tuple(
            sorted(
                pack_id
                for pack_id, age in needed.items()
                if settings.revival_age_min <= age <= settings.revival_age_max
            )
        ),
        contradicted=frozenset(
            pack_id for pack_id, age in needed.items() if age > settings.revival_age_max
        ),
        deleted_packs=tuple(sorted(ends)),
        deleted_indexes=tuple(sorted(useless & before.indexes)),
        outlived=tuple(sorted(tombstones.keys() - situation.packs.keys())),
        outlived_marks=tuple(
            sorted(
                pack_id
                for pack_id, modified in situation.damage_marks.items()
                if pack_id not in situation.packs and began - modified > settings.findings_age_max
            )
        ),
        waiting=len((tombstones.keys() & situation.packs.keys()) - needed.keys() - ends),
    )


def next_at(situation: Situation, plan: Doom, settings: Settings) -> datetime | None:
    """Return when another collection can do more than this one, or None if nothing waits."""
    began = situation.began
    times = [
        modified + settings.tombstone_age
        for pack_id, modified in situation.tombstones.items()
        if pack_id in situation.packs and pack_id not in situation.needed_packs
    ]
    if plan.announced:
        times.append(began + settings.tombstone_age)
    if plan.findings.packs - situation.before.packs or plan.findings.indexes - (
        situation.before.indexes
    ):
        times.append(began + settings.apart)
    unneeded = [
        pack.modified + settings.unused_age
        for pack_id, pack in situation.packs.items()
        if pack_id not in situation.needed_packs and pack_id not in plan.findings.packs
    ]
    return min((time for time in (*times, *unneeded) if time > began), default=None)
