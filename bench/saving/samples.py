"""What was measured, round by round."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bench.saving.notes import Pause

FOLDER, S3 = "folder", "S3"
OURS, RESTIC, TAR = "ours", "restic", "tar, zstd"

IDLE = "nothing"
SMALL = "10 MB saved, five times"
LARGE = "1 GB saved"
LARGE_MEGABYTES = 1000
BY_RESTIC = "the same 1 GB, by restic"
BY_TAR = "the same 1 GB, by tar and zstd"
STOPPED = "1 GB saved a last time, and the stop"
STARTED = "1 GB restored, and the start"
WRITES, SYNCS, LOOP = "writes", "fsyncs", "the agent's loop"
BYSTANDER = "a bystander's loop"

FIRST = "a first save: the tool's own traces"
NOTHING = "nothing changed"
PIP = "`pip install` of babel"
NOTEBOOK = "a notebook of 2 MB, saved again"
APT = "`apt-get install` of newer git, restic, zstd"
REPOSITORY = "20 000 files unpacked, and committed with git"
COMMIT = "`git commit` of 20 files among them"
CASES = (FIRST, NOTHING, PIP, NOTEBOOK, APT, REPOSITORY, COMMIT)


class Saving(NamedTuple):
    """One time that something was saved. Peers don't tell more than the first and the last."""

    seconds: float
    """Until it was safe."""
    stored_bytes: int
    finding_seconds: float = 0.0
    """Of that, until it was known what there is to save: snapshot and search."""
    whole_seconds: float = 0.0
    """Until the snapshot was gone and its space free."""


class Restart(NamedTuple):
    """One stop after so much was written, the start after it, and a stop with nothing changed."""

    stop_seconds: float
    start_seconds: float
    restore_seconds: float
    next_stop_seconds: float


class Memory(NamedTuple):
    """Of all processes of an agent together, in bytes."""

    resident: int
    proportional: int
    """A page that n processes share counts as its nth part."""


@dataclass(slots=True)
class Samples:
    """Lists have an item for each time that something was done."""

    pauses: dict[tuple[str, str, str], list[Pause]] = field(default_factory=dict)
    """By store, what went on, and who should have come round meanwhile."""
    savings: dict[tuple[str, str, str], list[Saving]] = field(default_factory=dict)
    """By store, case, and tool."""
    restarts: dict[tuple[str, int], list[Restart]] = field(default_factory=dict)
    """By store and megabytes."""
    idle: list[Memory] = field(default_factory=list)
    """After two times that nothing had changed."""
    peaks: dict[str, list[int]] = field(default_factory=dict)
    """By what was saved: the most that each process ever had resident, added up."""

    def add_pause(self, store: str, during: str, who: str, found: Pause) -> None:
        self.pauses.setdefault((store, during, who), []).append(found)

    def add_saving(self, store: str, case: str, tool: str, found: Saving) -> None:
        self.savings.setdefault((store, case, tool), []).append(found)
