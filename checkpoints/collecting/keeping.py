"""Which records go. Pure.

A checkpoint that is being written keeps its newest few generations that are sound, another its
last. What is older than those goes; what is newer stays, for seals fence by their numbers: the name
that a writer would commit next is taken, for as long as the generation before it is there. Of one
that is deleted no generation stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, auto
from typing import TYPE_CHECKING

from checkpoints.collecting.settings import GENERATIONS_ENDED, GENERATIONS_RUNNING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from checkpoints.collecting.settings import Settings
    from checkpoints.format.names import Place


class State(StrEnum):
    """What a record turned out to be."""

    SOUND = auto()
    """A generation; all that it needs is there."""
    SOUND_AND_FINAL = auto()
    LOSSY = auto()
    """A generation, and something of it can't be had."""
    SEAL = auto()
    DELETION = auto()
    """A seal of a checkpoint that is deleted."""
    DAMAGED = auto()
    """It can't be understood."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A record, and what is known of it."""

    place: Place
    modified: datetime
    state: State


_SOUND = {State.SOUND, State.SOUND_AND_FINAL}
SEALS = {State.SEAL, State.DELETION}
_ENDED = {*SEALS, State.SOUND_AND_FINAL}


def superfluous(records: Sequence[Seen], now: datetime, settings: Settings) -> list[Place]:
    """Return which records of one checkpoint go, in the order in which they must: oldest first."""
    ordered = sorted(records, key=lambda record: record.place.generation)
    if not ordered:
        return []
    if all(record.state in SEALS for record in ordered):
        youngest = max(record.modified for record in ordered)
        return (
            [record.place for record in ordered] if now - youngest > settings.seal_age_max else []
        )
    if any(record.state is State.DELETION for record in ordered):
        return [record.place for record in ordered if record.state not in SEALS]
    wanted = GENERATIONS_ENDED if ordered[-1].state in _ENDED else GENERATIONS_RUNNING
    sound = [number for number, record in enumerate(ordered) if record.state in _SOUND]
    if len(sound) < wanted:
        return []
    return [record.place for record in ordered[: sound[-wanted]]]
