"""What was measured, round by round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from bench.checkpoints.costs import Cost

if TYPE_CHECKING:
    from bench.checkpoints.messages import Answer

FOLDER, S3 = "folder", "S3"
OURS, RESTIC, BORG, TAR = "ours", "restic", "borg", "tar, zstd"
OURS_LISTED, OURS_SCANNED = "ours, told what changed", "ours, looking for it"

FIRST = "first write"
UNCHANGED = "nothing changed"
RESTORE = "read back"
MANY_FIRST = "first write, 200 000 files"
CHANGED = "10 MB changed"
MILLION_FIRST = "write 1 000 000 entries"
MILLION_OPEN = "open it and look up a path"
MILLION_FOLDER = "list a folder of 200"
MILLION_ALL = "list all"
MILLION_UNCHANGED = "nothing changed of 1 000 000 entries"
COLLECTED = "collections"


@dataclass(frozen=True, slots=True)
class Stall:
    """How long an event loop did not come round."""

    p99_seconds: float
    most_seconds: float


class Samples(msgspec.Struct, kw_only=True):
    """Lists have one item for each time that something was done."""

    costs: dict[tuple[str, str, str], list[Cost]] = msgspec.field(default_factory=dict)
    """By store, step, and tool."""
    sizes: dict[tuple[str, str, str], int] = msgspec.field(default_factory=dict)
    """Stored bytes after a step, by the same; they hardly vary."""
    stalls: dict[tuple[str, str, str], list[Stall]] = msgspec.field(default_factory=dict)
    """Of ours."""
    peaks: dict[tuple[str, str, str], int] = msgspec.field(default_factory=dict)
    """The most memory of any process of ours, up to the end of a step."""
    data: tuple[int, int] = (0, 0)
    """How many files there were to write, and of how many bytes."""
    million_entries: int = 0

    def add(self, store: str, step: str, tool: str, cost: Cost) -> None:
        self.costs.setdefault((store, step, tool), []).append(cost)

    def add_ours(self, store: str, step: str, tool: str, answer: Answer, cost: Cost) -> None:
        self.add(store, step, tool, cost)
        stall = Stall(answer.gap_seconds_p99, answer.gap_seconds_max)
        key = (store, step, tool)
        self.stalls.setdefault(key, []).append(stall)
        self.peaks[key] = max(self.peaks.get(key, 0), answer.peak_bytes)
