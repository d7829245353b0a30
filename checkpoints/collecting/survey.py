"""Reads all records and marks what they need, until a listing shows none that is new.

Listings aren't of an instant: while one goes on, a record may be created where it has passed, and
the one that it continues be deleted where it hasn't been yet. Whoever continues a record makes sure
that it is still there when its own is; so the next listing has one of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from checkpoints.collecting.keeping import Seen, State
from checkpoints.collecting.listing import list_records
from checkpoints.format import names
from checkpoints.format.damage import DamagedObjectError
from checkpoints.storage.failures import NotThereError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from checkpoints.collecting.marking import Marking
    from checkpoints.format.ids import CheckpointId
    from checkpoints.format.names import Place
    from checkpoints.repository import Repository

LISTINGS_MAX = 20
"""Each takes as long as marking what was new in the one before."""


class Survey:
    """What is known of the records of a repository."""

    def __init__(
        self, repository: Repository, marking: Marking, report: Callable[[int, int], None]
    ) -> None:
        """`report` is told how many records are done, and of how many."""
        self.problems: list[str] = []
        self.is_complete = True
        """Whether all that is needed is known."""
        self._repository = repository
        self._marking = marking
        self._report = report
        self._seen: dict[Place, Seen] = {}
        self._gone: set[Place] = set()

    def by_checkpoint(self) -> dict[CheckpointId, list[Seen]]:
        """Return all records that are there, by checkpoint."""
        found: dict[CheckpointId, list[Seen]] = {}
        for place, seen in sorted(self._seen.items()):
            found.setdefault(place.checkpoint_id, []).append(seen)
        return found

    async def run(self) -> None:
        """Mark what all records need."""
        for _ in range(LISTINGS_MAX):
            listed = await list_records(self._repository.storage)
            done = self._seen.keys() | self._gone
            new = sorted(listed.keys() - done)  # the oldest of a checkpoint first
            if not new:
                return
            for number, place in enumerate(new):
                self._report(len(done) + number, len(done) + len(new))
                await self._look_at(place, listed[place])
        self.is_complete = False
        self.problems.append("Records come faster than they can be read: try again later.")

    async def _look_at(self, place: Place, modified: datetime) -> None:
        try:
            state = await self._state(place)
        except NotThereError:
            self._gone.add(place)
        else:
            self._seen[place] = Seen(place, modified, state)

    async def _state(self, place: Place) -> State:
        """Mark what a record needs, and say what it is. Raises NotThereError."""
        try:
            record = await self._repository.record(place)
        except DamagedObjectError as damage:
            self._unknown(damage)
            return State.DAMAGED
        if record.tree is None:
            return State.DELETION if record.deleted else State.SEAL
        try:
            problem = await self._marking.mark(msgspec.structs.replace(record, prefetch=()))
        except DamagedObjectError as damage:
            self._unknown(damage)
            return State.LOSSY
        if problem:
            self.problems.append(f"{names.record(place)}: {problem}")
            return State.LOSSY
        return State.SOUND_AND_FINAL if record.final else State.SOUND

    def _unknown(self, damage: DamagedObjectError) -> None:
        self.is_complete = False
        self.problems.append(str(damage))
