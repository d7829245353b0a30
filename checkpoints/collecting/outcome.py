"""What a collection tells its caller: while it goes on, and at its end."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec


class Phase(StrEnum):
    """What a collection is doing."""

    LISTING = "Listing"
    MARKING = "Reading trees"
    DELETING = "Deleting"
    REWRITING = "Rewriting packs"


class Progress(msgspec.Struct, frozen=True):
    """How far it is; of `total` things, which may still become more."""

    phase: Phase
    done: int = 0
    total: int = 0


class Collected(msgspec.Struct, kw_only=True, rename="camel"):
    """What was found and done. Bytes are as stored."""

    checkpoints: int = 0
    generations: int = 0
    packs: int = 0
    stored_bytes: int = 0
    """Of all packs, when it began."""
    needed_bytes: int = 0
    """Of chunks that any generation needs."""
    unused_packs: int = 0
    unused_bytes: int = 0
    """Of packs without such chunks, old enough to be found."""
    announced_packs: int = 0
    revived_packs: int = 0
    waiting_packs: int = 0
    """Announced, by this collection or before, and not deleted yet."""
    deleted_packs: int = 0
    deleted_bytes: int = 0
    deleted_indexes: int = 0
    deleted_records: int = 0
    rewritten_packs: int = 0
    rewritten_bytes: int = 0
    """Of these packs, as they were."""
    written_bytes: int = 0
    """Of the packs that have what was needed of them."""
    folded_indexes: int = 0
    refused: int = 0
    """Deletions that the store doesn't permit."""
    refusal: str = ""
    """What it said to the first."""
    problems: list[str] = msgspec.field(default_factory=list)
    """What can't be read. While a record or an index is among them, nothing is freed."""
    is_blocked: bool = False
    next_at: datetime | None = None
    """When the next collection can free more, by the store's clock."""

    @property
    def did_something(self) -> bool:
        """Whether another collection may have more to do for it."""
        return not self.is_blocked and any(
            (
                self.unused_packs,
                self.announced_packs,
                self.revived_packs,
                self.deleted_packs,
                self.deleted_indexes,
                self.deleted_records,
                self.rewritten_packs,
                self.folded_indexes,
            )
        )

    def followed_by(self, later: Collected) -> Collected:
        """Return what two collections in a row did, and what is there after the second."""
        return msgspec.structs.replace(
            later,
            **{name: getattr(self, name) + getattr(later, name) for name in _DONE},
            refusal=self.refusal or later.refusal,
        )


_DONE = (
    "announced_packs",
    "revived_packs",
    "deleted_packs",
    "deleted_bytes",
    "deleted_indexes",
    "deleted_records",
    "rewritten_packs",
    "rewritten_bytes",
    "written_bytes",
    "folded_indexes",
    "refused",
)
