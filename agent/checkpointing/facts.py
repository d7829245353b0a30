"""What is told about checkpoints between the agent and the process that writes them."""

from __future__ import annotations

from datetime import datetime

import msgspec


class _Fact(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class Saved(_Fact, frozen=True, kw_only=True):
    """One generation that is committed, and can be restored."""

    checkpoint_id: str
    generation: int
    run_number: int
    created_at: datetime
    """When its capture began: what was written before that is in it."""
    image: str
    """What it was taken over."""
    final: bool
    entries: int
    file_bytes: int
    """Sum of the sizes of all files, holes too; one with several names counts with each."""
    stored_bytes: int
    """What it has added to the work directory."""
    torn: int
    """Files whose content is of no single instant."""
    root: str
    """The id of its tree, hexadecimal: two with the same hold the same."""
    volume: int
    """The number of the volume it was captured from."""
    too_long: int = 0
    """Names that were left out, with all below them: their paths are too long."""
    passed_over: tuple[str, ...] = ()
    """Later records of its checkpoint that can't be read, each with why, newest first: somebody
    should know that what is restored may not be the latest."""

    @property
    def left_out(self) -> str:
        """What it lacks of the volume, as the subject of a sentence; empty if nothing."""
        if not self.too_long:
            return ""
        names = f"{self.too_long} files or folders" if self.too_long > 1 else "A file or folder"
        return f"{names} with a path of more than 4,095 bytes, and all below"


class SaveProgress(_Fact, frozen=True, kw_only=True):
    """How far a write is: sums since it began. Told again whenever the store has taken more."""

    entries: int
    """That were described: all of a full write, otherwise what changed."""
    read_bytes: int
    stored_bytes: int
    """In packs that were handed to the store."""


class RestoreProgress(_Fact, frozen=True, kw_only=True):
    """How far a restoration is; what it comes to in the end, its `Saved` says."""

    entries: int
    file_bytes: int


class Restored(_Fact, frozen=True, kw_only=True):
    """What a restoration has made."""

    entries: int
    file_bytes: int
    left_out: int = 0
    """Deletions that would hide nothing of what lies below."""


class Swept(_Fact, frozen=True, kw_only=True):
    """What was swept up after a writer."""

    records: int
    deleted_bytes: int
    refused: int
    """Objects that the store would not delete."""
    is_waiting: bool = False
    """Whether there is more to delete in some minutes, which only the process that runs knows: one
    that rests now leaves it to a collection, days later."""
