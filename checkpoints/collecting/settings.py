"""After which times what goes, and why not earlier. What they protect: see `doom`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

GENERATIONS_RUNNING = 3
"""Of a checkpoint that is being written: enough that damage to the last isn't the end."""
GENERATIONS_ENDED = 1
"""Of one that is final or sealed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The defaults are those of the format. Shorter ones are only for when nobody writes."""

    unused_age: timedelta = timedelta(hours=24)
    """Younger packs and indexes are never found without use: a first write takes hours, and its
    packs are referenced by nobody until it ends."""
    apart: timedelta = timedelta(hours=4)
    """How far two collections that find the same must be apart: longer than any writer may take
    from its last look to its record, with a wide margin."""
    tombstone_age: timedelta = timedelta(hours=24)
    """How long a pack is announced before it goes: a writer looks for announcements at most an hour
    before it commits, so every collection that may delete sees what relied on the pack."""
    revival_age_min: timedelta = timedelta(hours=2)
    """A tombstone on a pack that is needed isn't taken away before: a writer that sweeps up after
    itself deletes within an hour, and a collection may go by records that have gone meanwhile."""
    revival_age_max: timedelta = timedelta(hours=20)
    revival_lasts_max: timedelta = timedelta(hours=4)
    """And not later, altogether less than `tombstone_age`: then none takes one away that another
    collection is about to act on. Such packs are rewritten instead, and go with their tombstone."""
    lasts_max: timedelta = timedelta(hours=12)
    """One that takes longer deletes nothing: what it saw is too long ago."""
    findings_age_max: timedelta = timedelta(hours=48)
    """Older ones say nothing that younger ones don't."""
    seal_age_max: timedelta = timedelta(days=90)
    """Of a checkpoint without generations: whoever it fences has ended by then."""
    rewritten_share_max: float = 0.5
    """A pack less than so much of which is needed is rewritten: so no more than twice of what is
    needed is stored for long, and nothing is rewritten more often than it halves."""
    recompressed_age: timedelta = timedelta(days=7)
    """What is kept so long is likely to be kept: worth the time that compressing it well takes."""
    level: int = 9
    """Of zstd, when packs are rewritten. Of programs and libraries, level 1 leaves 39.3 %, 3 leaves
    36.3, 6 34.6, 9 34.2, 12 34.0, 19 31.5, at 426, 277, 95, 60, 35 and 3 MB/s."""
    rewritten_bytes_max: int = 32 * 1024**3
    """In one collection, of packs as they were: a quarter of an hour's work; the next goes on."""
    moved_indexes_max: int = 16
    """More are folded into one: each is read before anything else, and asked for every chunk."""


def settings_while_nobody_writes() -> Settings:
    """Return settings without any wait. Whoever writes meanwhile loses what it writes."""
    none = timedelta()
    return replace(
        Settings(),
        unused_age=none,
        apart=none,
        tombstone_age=none,
        revival_age_min=none,
        revival_age_max=timedelta.max,
        recompressed_age=none,
    )
