"""All that a collection decides, once everything is marked. Pure; takes a while, for a thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from checkpoints.collecting.candidates import choose
from checkpoints.collecting.doom import doom, next_at
from checkpoints.collecting.keeping import SEALS, superfluous

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from checkpoints.collecting.candidates import Candidate
    from checkpoints.collecting.doom import Doom, Situation
    from checkpoints.collecting.keeping import Seen
    from checkpoints.collecting.marks import Marks
    from checkpoints.collecting.outcome import Collected
    from checkpoints.collecting.settings import Settings
    from checkpoints.format.ids import CheckpointId
    from checkpoints.format.index import Index
    from checkpoints.format.names import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be done, and what there is."""

    situation: Situation
    doom: Doom
    superseded: Sequence[Sequence[Place]]
    """Records that go, by checkpoint, in the order in which they must."""
    candidates: Sequence[Candidate]
    """Packs to rewrite."""
    checkpoints: int
    generations: int
    needed_bytes: int
    next_at: datetime | None

    def describe(self, found: Collected) -> None:
        """Say what there is."""
        packs, doom = self.situation.packs, self.doom
        found.checkpoints = self.checkpoints
        found.generations = self.generations
        found.packs = len(packs)
        found.stored_bytes = sum([pack.object_bytes for pack in packs.values()])
        found.needed_bytes = self.needed_bytes
        found.unused_packs = len(doom.findings.packs)
        found.unused_bytes = sum(packs[each].object_bytes for each in doom.findings.packs)
        found.waiting_packs = doom.waiting + len(doom.announced)
        found.next_at = self.next_at

    def foretell(self, found: Collected) -> None:
        """Say what would be done."""
        found.deleted_records = sum(map(len, self.superseded))
        if found.is_blocked:
            return
        packs, doom = self.situation.packs, self.doom
        found.announced_packs = len(doom.announced)
        found.revived_packs = len(doom.revived)
        found.deleted_packs = len(doom.deleted_packs)
        found.deleted_bytes = sum(packs[each].object_bytes for each in doom.deleted_packs)
        found.deleted_indexes = len(doom.deleted_indexes)
        found.rewritten_packs = len(self.candidates)
        found.rewritten_bytes = sum(each.object_bytes for each in self.candidates)


def decide(
    situation: Situation,
    checkpoints: Mapping[CheckpointId, Sequence[Seen]],
    marks: Marks,
    moved: Mapping[str, Index],
    settings: Settings,
) -> Decision:
    """Decide on all that was found."""
    plan = doom(situation, settings)
    rewritten = {pack.pack_id for index in moved.values() for pack in index.packs}
    return Decision(
        situation=situation,
        doom=plan,
        superseded=[
            superfluous(records, situation.began, settings) for records in checkpoints.values()
        ],
        candidates=choose(situation, plan, marks, rewritten, settings),
        checkpoints=len(checkpoints),
        generations=sum(
            record.state not in SEALS for each in checkpoints.values() for record in each
        ),
        needed_bytes=sum(map(marks.stored_bytes, marks.packs)),
        next_at=next_at(situation, plan, settings),
    )
