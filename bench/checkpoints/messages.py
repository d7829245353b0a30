"""What a worker is asked, and what it answers: one JSON document a line."""

from __future__ import annotations

import msgspec


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """A work directory, which nobody else writes to."""

    url: str
    endpoint: str = ""
    """Of a bucket's server; its keys are those of `bucket`."""


class Create(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Lay down a repository."""

    where: Where


class Write(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Commit a folder as the next generation."""

    where: Where
    folder: str
    changed: tuple[bytes, ...] | None = None
    """What changed since; otherwise that is found out."""


class Restore(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Make the newest generation in a folder."""

    where: Where
    folder: str


class Collect(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """End the checkpoint, and collect until nothing more becomes of it."""

    where: Where


class Open(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Find the newest generation and look up a path in it."""

    where: Where
    path: bytes


class ListAll(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Go through all entries of what was opened."""


class ListFolder(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Go through a folder of what was opened."""

    path: bytes


Request = Create | Write | Restore | Collect | Open | ListAll | ListFolder


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What one request took."""

    seconds: float
    cpu_seconds: float
    process_cpu_seconds: float
    """Since the process began."""
    peak_bytes: int
    """The most memory that the process ever had resident."""
    gap_seconds_p99: float
    gap_seconds_max: float
    """Between ticks of the event loop that should come every `gaps.TICK_SECONDS`."""
    entries: int = 0
    stored_bytes: int = 0
    root: str = ""
    """Of the tree that was written."""
