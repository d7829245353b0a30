"""What agent and control plane say to each other: whole states, never events.

The agent sends its whole observed state (`StatusReport`) every 10 s and at once on change; the
reply is the whole desired state (`DesiredState`). Either may be lost or repeated without harm:
the receiver keeps the highest (run, sequence) and acts on the difference to what it sees.

Every section of the report belongs to one part of the agent. A section that a session doesn't have
(no volume, no mounts) is null, not made up.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from common.ids import RunNumber, SessionId
from common.secret import Secret
from common.session_spec import MountSpec, SessionSettings

MESSAGE_LINES_MAX = 40
"""Lines of the tool's output carried in a report; the whole log is fetched through the edge."""


class _Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Unknown fields are ignored: agents and control planes of neighbouring versions must talk."""


# ── What the agent reports ───────────────────────────────────────────────────


class RunPhase(StrEnum):
    """Where one run stands, as its agent sees it. Terminal: stopped, failed, superseded."""

    STARTING = "starting"
    RUNNING = "running"
    """The tool answers a plain HTTP request."""
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    """The run is over because of an error; `message` says which."""
    SUPERSEDED = "superseded"
    """A newer run of the same Studio exists; this one has stopped its tool."""


class ToolPhase(StrEnum):
    """The life of the tool's process."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    BACKING_OFF = "backing-off"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class ResourceUse(_Wire, frozen=True, kw_only=True):
    """All processes of the tool together."""

    cpu_percent: float
    """100 is one core kept busy since the previous measurement."""
    memory_bytes: int
    """Their own and files they have mapped, without what the kernel merely keeps in its cache."""
    processes: int
    measured_at: datetime


class ToolStatus(_Wire, frozen=True, kw_only=True):
    """The tool's process."""

    phase: ToolPhase
    pid: int | None = None
    restarts: int = 0
    last_exit: str | None = None
    """How the previous process ended: `exit code 1`, `killed by SIGKILL`."""
    last_lines: tuple[str, ...] = ()
    """The end of its output; filled once something went wrong."""
    resources: ResourceUse | None = None


class RootStatus(_Wire, frozen=True, kw_only=True):
    """What the session's limits did to it. The same is in `warnings`, as sentences."""

    memory_kills: tuple[str, ...] = ()
    """Names of processes that the kernel ended for want of memory, the latest last."""
    memory_kill_count: int = 0
    process_limit_hits: int = 0
    """How often a process could not be started because the session had too many."""


class VolumeStatus(_Wire, frozen=True, kw_only=True):
    """The session's own file system. Sizes in bytes."""

    size_bytes: int
    free_bytes: int
    limit_bytes: int
    full: bool = False
    message: str = ""


class CheckpointPhase(StrEnum):
    """How much a checkpoint holds of what its run did."""

    EMPTY = "empty"
    """Nothing yet but what the run began with."""
    INTERIM = "interim"
    """A state of it, while it goes on."""
    FINALIZED = "finalized"
    """All: the run is over."""


class CheckpointStatus(_Wire, frozen=True, kw_only=True):
    """A checkpoint that this run writes."""

    id: str
    phase: CheckpointPhase
    generation: int
    """The last one committed; 0 before the first."""
    committed_at: datetime | None = None
    """As of when the files are safe: what a power cut now would cost is since then. It is when the
    last committed generation was captured, or when it was last seen that nothing has changed."""
    entries: int = 0
    file_bytes: int = 0
    """Sum of the sizes of all files in the last generation."""
    stored_bytes: int = 0
    """What this run has added to the work directory."""
    torn_files: int = 0
    """Files whose content in the last generation is of no single instant; 0 on btrfs."""
    image: str = ""
    """What it was taken over."""
    parent_id: str | None = None
    """The checkpoint that the run began with."""
    in_progress: bool = False
    failures: int = 0
    """How often this run could not save its files."""
    answered_request_at: datetime | None = None
    """The newest `checkpoint_requested_at` that a committed capture answers."""
    message: str = ""
    """Why it is as old as it is, as a sentence; empty while all is well."""


class MountStatus(_Wire, frozen=True, kw_only=True):
    """One data link."""

    name: str
    mounted: bool
    message: str = ""


class ActivityStatus(_Wire, frozen=True, kw_only=True):
    """Why the session counts as used. Pings, idle tabs and health polls don't."""

    last_active_at: datetime | None = None
    reason: str = ""
    open_websockets: int = 0


class EdgeTunnel(_Wire, frozen=True, kw_only=True):
    """The tunnel connections to one edge."""

    edge_url: str
    parked: int
    busy: int
    message: str = ""


class TunnelStatus(_Wire, frozen=True, kw_only=True):
    """How users can reach the session."""

    connected: bool
    edges: tuple[EdgeTunnel, ...] = ()


class StepState(StrEnum):
    """One step of the stop sequence."""

    PENDING = "pending"
    IN_PROGRESS = "in-progress"
    SUCCEEDED = "succeeded"
    ERRORED = "errored"


class StopStepStatus(_Wire, frozen=True, kw_only=True):
    """One line of the stop sequence."""

    name: str
    state: StepState
    limit_seconds: float
    message: str = ""


class StatusReport(_Wire, frozen=True, kw_only=True):
    """The agent's whole observed state."""

    session_id: SessionId
    run_number: RunNumber
    sequence: int
    """Grows by one with every report of a run."""
    sent_at: datetime
    phase: RunPhase
    message: str = ""
    tool: ToolStatus
    warnings: tuple[str, ...] = ()
    """What the user gave up or should know: a missing kernel feature, a mismatched image."""
    root: RootStatus | None = None
    volume: VolumeStatus | None = None
    checkpoint: CheckpointStatus | None = None
    """Of this run."""
    earlier_checkpoint: CheckpointStatus | None = None
    """Of an earlier run that did not save its files itself: this one has, from its volume."""
    mounts: tuple[MountStatus, ...] | None = None
    activity: ActivityStatus | None = None
    tunnel: TunnelStatus | None = None
    stop_steps: tuple[StopStepStatus, ...] = ()


# ── What the control plane wants ─────────────────────────────────────────────


class RunState(StrEnum):
    """What a run should be doing."""

    RUN = "run"
    STOP = "stop"
    FORCE_STOP = "force-stop"
    """Stop without waiting for what waits on the outside (a final checkpoint to dead storage)."""
    SUPERSEDED = "superseded"
    """This run number is not the newest: stop the tool, keep the volume, commit nothing."""


class DesiredState(_Wire, frozen=True, kw_only=True):
    """What the control plane wants of one run, whole. `version` grows with every change."""

    version: int
    run_number: RunNumber
    run_state: RunState
    stop_reason: str = ""
    deadline: datetime | None = None
    """When the lifespan ends; None means keep running. The control plane acts on it, the agent
    shows it."""
    mounts: tuple[MountSpec, ...] = ()
    settings: SessionSettings = SessionSettings()
    checkpoint_requested_at: datetime | None = None
    """Save now: a capture that begins at or after this time answers it."""
    agent_token: Secret | None = None
    """A renewed token, when the present one is past half its life."""
    token_keys: str = ""
    """The current public keys (JWKS); empty when unchanged is all that is known."""
