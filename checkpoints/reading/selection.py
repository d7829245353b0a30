"""Which generation a person means.

    ID[@GENERATION | @TIME]

`ID` is a checkpoint's id, or as much of its beginning as no other has. A time is in UTC, and means
the newest generation that was committed by then: `2026-03-04`, `2026-03-04T05:06`, `…T05:06:07Z`.
Without any, the newest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from checkpoints.format.ids import CheckpointId
    from checkpoints.format.record import Record
    from checkpoints.repository import Repository


class NoSuchError(Exception):
    """Nothing there is meant, or more than one. The text is a sentence."""


@dataclass(frozen=True, slots=True)
class Selector:
    """What was written."""

    id_prefix: str
    generation: int | None = None
    by: datetime | None = None


def parse_selector(text: str) -> Selector:
    """Return what is meant, or raise NoSuchError."""
    prefix, at, rest = text.partition("@")
    if not prefix or not set(prefix) <= set("0123456789abcdef"):
        raise NoSuchError(f"{text!r} doesn't begin with a checkpoint's id: 16 digits of 0-9, a-f.")
    if not at:
        return Selector(prefix)
    if rest.isascii() and rest.isdigit():
        return Selector(prefix, generation=int(rest))
    try:
        by = datetime.fromisoformat(rest)
    except ValueError:
        raise NoSuchError(
            f"{rest!r} is neither a generation's number nor a time: write 2026-03-04T05:06."
        ) from None
    return Selector(prefix, by=by if by.tzinfo else by.replace(tzinfo=UTC))


def choose_checkpoint(prefix: str, found: Iterable[CheckpointId]) -> CheckpointId:
    """Return the one checkpoint whose id begins so, or raise NoSuchError."""
    fitting = sorted(each for each in found if each.startswith(prefix))
    if not fitting:
        raise NoSuchError(f"No checkpoint there has an id that begins with {prefix}.")
    if len(fitting) > 1:
        raise NoSuchError(f"Several checkpoints' ids begin with {prefix}: {', '.join(fitting)}.")
    return fitting[0]


def choose_generation(selector: Selector, generations: Sequence[Record]) -> Record:
    """Return the record that is meant of a checkpoint's, newest first, or raise NoSuchError."""
    for record in generations:
        if selector.generation is not None:
            is_meant = record.generation == selector.generation
        else:
            is_meant = selector.by is None or record.created_at <= selector.by
        if is_meant:
            return record
    known = ", ".join(str(record.generation) for record in generations) or "none"
    raise NoSuchError(f"No such generation is kept. There are: {known}.")


async def select(repository: Repository, text: str) -> Record:
    """Return the record that a person means. Raises NoSuchError, DamagedError, StorageError."""
    selector = parse_selector(text)
    checkpoint_id = choose_checkpoint(selector.id_prefix, await repository.checkpoints())
    records = await repository.records(checkpoint_id)
    try:
        return choose_generation(selector, records.generations)
    except NoSuchError:
        if records.damaged:
            raise records.damaged[0] from None
        raise
