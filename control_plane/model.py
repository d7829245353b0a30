"""What the control plane knows: Studios, people, compute environments, settings.

Plain frozen values, valid once built. `Studio` carries the whole state of the lifecycle, so that
`lifecycle.step` is a function from one Studio to the next, and the store writes what it returns.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NewType

import msgspec

from common.ids import RunNumber, SessionId, UserId
from common.messages import RunState, StatusReport

WorkspaceId = NewType("WorkspaceId", int)
ComputeEnvId = NewType("ComputeEnvId", str)
LabelId = NewType("LabelId", int)

DEFAULT_WORKSPACE = WorkspaceId(1)
DEFAULT_COMPUTE_ENV = ComputeEnvId("local")

LIFESPAN_HOURS_DEFAULT = 8
LIFESPAN_HOURS_MAX = 120
LOCAL_ADMIN_NAME = "admin"
"""The first Owner of an installation, whom `studios up` logs in as."""
KEEP_RUNNING = 0
"""The lifespan that has no end."""


class Status(StrEnum):
    """Where a Studio stands. The values are the public API's."""

    BUILDING = "building"
    BUILD_FAILED = "buildFailed"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ERRORED = "errored"
    """Stopped, with an error."""


class StopReason(StrEnum):
    """Why a session ended without being asked to. The public API's values; IDLE is ours."""

    LIFESPAN_EXPIRED = "LIFESPAN_EXPIRED"
    SPOT_RECLAMATION = "SPOT_RECLAMATION"
    NO_STATS_AVAIL = "NO_STATS_AVAIL"
    CREDITS_RUN_OUT = "CREDITS_RUN_OUT"
    IDLE = "IDLE"


class Role(StrEnum):
    """What a member may do, from most to least; see `access`."""

    OWNER = "owner"
    ADMIN = "admin"
    MAINTAIN = "maintain"
    LAUNCH = "launch"
    CONNECT = "connect"
    VIEW = "view"


class JobStanding(StrEnum):
    """What the engine may be holding for a Studio.

    There is at most one job per Studio, by construction: a run is submitted only from NONE, and
    NONE is reached only when the engine said that the job is gone.
    """

    NONE = "none"
    INTENDED = "intended"
    """Written before the engine is asked, so that a crash in between leaves a trace."""
    SUBMITTED = "submitted"


class StepStatus(StrEnum):
    """One line of a Studio's progress, as the public API spells it."""

    PENDING = "pending"
    IN_PROGRESS = "in-progress"
    SUCCEEDED = "succeeded"
    ERRORED = "errored"


class _Value(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Person(_Value, frozen=True, kw_only=True):
    """A member of the workspace."""

    id: UserId
    name: str
    role: Role


class PersonName(_Value, frozen=True, kw_only=True):
    """Somebody to name: the owner of a Studio, who may be no member any more."""

    id: UserId
    name: str


class DataMount(_Value, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One data link to mount below /workspace/data."""

    data_link_id: str
    path: str = ""


class Configuration(_Value, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """How a Studio's sessions run. The same shape is stored and travels in the API."""

    gpu: int = 0
    cpu: int = 2
    memory: int = 8192
    """MiB."""
    lifespan_hours: int | None = None
    """0 keeps the session running; None takes the default."""
    mount_data: tuple[str, ...] = ()
    mount_data_v2: tuple[DataMount, ...] = msgspec.field(default=(), name="mountDataV2")
    environment: dict[str, str] = {}
    conda_environment: str = ""
    ssh_enabled: bool = False


class SessionConfiguration(
    _Value, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """What one start changes for that session only; None leaves the Studio's own."""

    gpu: int | None = None
    cpu: int | None = None
    memory: int | None = None
    lifespan_hours: int | None = None
    environment: dict[str, str] = {}


class ProgressStep(_Value, frozen=True, kw_only=True):
    """One step on the way to `running` or `stopped`."""

    status: StepStatus
    message: str
    warnings: tuple[str, ...] = ()


class HealthResult(_Value, frozen=True, kw_only=True):
    """What the last poll through the edge found: whether users can reach the session."""

    ok: bool
    at: datetime
    message: str = ""


class ComputeEnv(_Value, frozen=True, kw_only=True):
    """Where sessions run."""

    id: ComputeEnvId
    name: str
    engine: str
    """Key of the engine that runs its sessions: `local`."""
    region: str = ""
    work_dir: str
    """`file://`, `s3://`, …: where checkpoints live."""
    single_writer: bool = False
    disk_limit_bytes: int = 30 * 1024**3
    environment: dict[str, str] = {}


class WorkspaceSettings(_Value, frozen=True, kw_only=True):
    """What Owner and Admin set for every Studio of the workspace."""

    lifespan_hours: int | None = None
    """None lets each Studio choose; a number wins and locks the field, 0 keeps running."""
    private_studio_by_default: bool = False
    container_repository: str = ""
    name_strategy: str = ""
    running_sessions_max: int | None = None


class Label(_Value, frozen=True, kw_only=True):
    """A mark on a Studio; a resource label (`value` set) also marks what it costs."""

    id: LabelId
    name: str
    value: str | None = None


class ParentCheckpoint(_Value, frozen=True, kw_only=True):
    """The checkpoint that a Studio was added from, as it is called now."""

    checkpoint_id: int
    checkpoint_name: str = ""
    session_id: str = ""
    studio_name: str = ""
    """Empty, as the other two, once there is none of that name any more."""


class Studio(_Value, frozen=True, kw_only=True):
    """A Studio with the whole state of its session."""

    session_id: SessionId
    workspace_id: WorkspaceId
    name: str
    description: str = ""
    template: str
    """Name of a folder in images/."""
    owner: PersonName
    compute_env_id: ComputeEnvId
    configuration: Configuration = Configuration()
    is_private: bool = False
    allowed_user_ids: frozenset[UserId] = frozenset()
    labels: tuple[Label, ...] = ()
    parent_checkpoint: ParentCheckpoint | None = None
    """What its first session begins with; None is the bare image."""

    status: Status
    status_message: str = ""
    status_since: datetime
    stop_reason: StopReason | None = None

    run_number: RunNumber = RunNumber(0)
    """The newest run; 0 before the first start. Only grows."""
    forced: bool = False
    """The stop under way was repeated: don't wait for anything outside."""
    desired_version: int = 0
    """Grows with every change of what the run should do."""
    deadline: datetime | None = None
    """When the lifespan ends, calendar time; None keeps running."""
    run_lifespan_hours: int | None = None
    """The lifespan fixed when the present run began."""
    next_lifespan_hours: int = LIFESPAN_HOURS_DEFAULT
    """The lifespan the next start would get."""
    session_configuration: SessionConfiguration | None = None
    """What the present session's start changed; reverts when it stops."""

    job: JobStanding = JobStanding.NONE
    job_run: RunNumber = RunNumber(0)
    """The run that `job` belongs to: an older one while its remains are being ended."""
    job_detail: str = ""
    """The engine's own handle."""
    submit_attempts: int = 0

    access_version: int = 1
    """Grows whenever somebody may have won or lost the right to connect."""
    deleted: bool = False
    """Gone for everybody; the row stays until the engine has forgotten the session."""
    date_created: datetime
    last_updated: datetime
    last_started: datetime | None = None
    report: StatusReport | None = None
    """The newest report of the present run."""
    health: HealthResult | None = None
    checkpoint_requested_at: datetime | None = None
    """When somebody last asked for the session's files to be saved now."""

    @property
    def run_state(self) -> RunState:
        """What the present run should be doing: a function of the status."""
        if self.status in WANTS_RUN:
            return RunState.RUN
        return RunState.FORCE_STOP if self.forced else RunState.STOP

    @property
    def effective_lifespan_hours(self) -> int:
        """The lifespan of the session under way, else of the next one; 0 keeps running."""
        if self.status in ACTIVE and self.run_lifespan_hours is not None:
            return self.run_lifespan_hours
        return self.next_lifespan_hours


WANTS_RUN = frozenset({Status.STARTING, Status.RUNNING})
ACTIVE = WANTS_RUN | {Status.STOPPING}
"""A session is under way: it counts against limits, and its settings are fixed."""


class ConnectDecision(_Value, frozen=True, kw_only=True):
    """Whether a person may use a session in the browser."""

    person: Person | None
    """None when the person is no member any more."""
    refused: str
    """Empty when they may; else the reason to show."""
    access_version: int
    exists: bool
