"""Does what was decided, in an order in which each step may be the last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checkpoints.format import collection as collection_format, names
from checkpoints.storage.failures import AlreadyThereError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from checkpoints.collecting.doom import Doom, Situation
    from checkpoints.collecting.outcome import Collected
    from checkpoints.collecting.removal import Removal
    from checkpoints.collecting.settings import Settings
    from checkpoints.format.collection import Findings
    from checkpoints.format.ids import PackId
    from checkpoints.format.names import Place
    from checkpoints.repository import Repository
    from checkpoints.storage.storage import Storage
    from common.clock import Clock

TOMBSTONE = b'{"format": 1}\n'
"""When it was created says all there is to say."""
NAMES_TRIED_MAX = 1000


async def note(storage: Storage, findings: Findings, clock: Clock) -> None:
    """Write down what was found. The name only has to be free: nobody relies on its time."""
    data = collection_format.encode(findings)
    milliseconds = int(clock.now().timestamp() * 1000)
    for number in range(milliseconds, milliseconds + NAMES_TRIED_MAX):
        try:
            await storage.put_new(names.collection(number), data)
        except AlreadyThereError:
            continue
        return
    raise AssertionError("a thousand collections at the same instant")


async def announce(storage: Storage, packs: Iterable[PackId]) -> int:
    """Give packs a tombstone; return how many had none."""
    count = 0
    for pack_id in packs:
        try:
            await storage.put_new(names.tombstone(pack_id), TOMBSTONE)
        except AlreadyThereError:
            continue  # of another collection, or the writer's
        count += 1
    return count


async def revive(removal: Removal, packs: Iterable[PackId]) -> int:
    """Take tombstones away; return of how many packs."""
    return sum(await removal.delete_all([names.tombstone(pack_id)] for pack_id in packs))


async def delete_packs(
    repository: Repository, removal: Removal, situation: Situation, plan: Doom, found: Collected
) -> None:
    """Delete packs, each before its tombstone, if that is still the one that was looked at.

    Then its mark, if it has one.
    """
    standing = await repository.tombstones() if plan.deleted_packs else {}
    packs = [
        pack_id
        for pack_id in plan.deleted_packs
        if standing.get(pack_id) == situation.tombstones[pack_id]
    ]
    results = await removal.delete_all(
        (
            names.pack(situation.packs[pack_id].kind, pack_id),
            names.tombstone(pack_id),
            *([names.mark(pack_id)] if pack_id in situation.damage_marks else []),
        )
        for pack_id in packs
    )
    for pack_id, is_deleted in zip(packs, results, strict=True):
        if is_deleted:
            found.deleted_packs += 1
            found.deleted_bytes += situation.packs[pack_id].object_bytes
    await removal.delete_all([names.tombstone(pack_id)] for pack_id in plan.outlived)
    await removal.delete_all([names.mark(pack_id)] for pack_id in plan.outlived_marks)


async def delete_indexes(removal: Removal, plan: Doom, found: Collected) -> None:
    found.deleted_indexes = sum(await removal.delete_all([key] for key in plan.deleted_indexes))


async def tidy_up(
    removal: Removal, objects: Mapping[str, datetime], began: datetime, settings: Settings
) -> None:
    """Delete old findings and probes, which say nothing any more."""
    await removal.delete_all(
        [key] for key, modified in objects.items() if began - modified > settings.findings_age_max
    )


async def drop_records(removal: Removal, checkpoints: Iterable[Sequence[Place]]) -> int:
    """Delete records, those of one checkpoint one after the other; return how many."""
    count = 0
    for places in checkpoints:
        for place in places:
            if not await removal.delete(names.record(place)):
                break
            count += 1
    return count
