"""The public JSON shapes of a Studio and what belongs to it.

Names and nesting are those of the reference platform, so that its clients can read them. Fields
marked “ours” are additions; fields of parts that this installation doesn't have yet are null or
empty.
"""

from __future__ import annotations

from datetime import datetime

from common.ids import SessionId, UserId
from control_plane.api.route import Reply
from control_plane.model import Configuration, StepStatus


class UserShape(Reply, frozen=True, kw_only=True):
    """A person by name."""

    id: UserId
    user_name: str
    email: str | None = None
    avatar: str | None = None


class ConnectionShape(Reply, frozen=True, kw_only=True):
    """Somebody connected to a session; since and lastActive of their newest tab."""

    id: UserId
    user_name: str
    since: datetime
    last_active: datetime


class ComputeEnvShape(Reply, frozen=True, kw_only=True):
    """Where sessions run."""

    id: str
    name: str
    platform: str
    region: str
    work_dir: str | None = None
    """Ours; in the list of compute environments only."""
    environment: tuple[str, ...] | None = None
    """Ours: names of the inherited variables; in the list of compute environments only."""


class TemplateShape(Reply, frozen=True, kw_only=True):
    """What a Studio is made of. `repository` is what `dataStudioToolUrl` takes."""

    repository: str
    icon: str
    status: str
    tool: str
    name: str
    """Ours: the template's name without the tag."""
    tag: str
    """Ours."""


class StatusShape(Reply, frozen=True, kw_only=True):
    """Where a Studio stands."""

    status: str
    message: str
    last_update: datetime
    """Since when it stands there."""
    stop_reason: str | None


class StepShape(Reply, frozen=True, kw_only=True):
    """One step of starting or stopping."""

    status: StepStatus
    message: str
    warnings: tuple[str, ...]


class LabelShape(Reply, frozen=True, kw_only=True):
    """A label; resource labels have a value."""

    id: int
    name: str
    value: str | None
    resource: bool
    is_default: bool = False


class HealthShape(Reply, frozen=True, kw_only=True):
    """What the last poll through the edge found. Ours."""

    ok: bool
    at: datetime
    message: str


class ResourceShape(Reply, frozen=True, kw_only=True):
    """What the session's processes take together. Ours."""

    cpu_percent: float
    memory_bytes: int
    processes: int
    measured_at: datetime


class VolumeShape(Reply, frozen=True, kw_only=True):
    """The session's own file system. Ours. Sizes in bytes."""

    size_bytes: int
    free_bytes: int
    """Of what it has now; it grows before that is used up."""
    limit_bytes: int
    full: bool
    """It is at its limit, and less is free than should be."""
    message: str


class ToolShape(Reply, frozen=True, kw_only=True):
    """The tool's process. Ours."""

    phase: str
    restarts: int
    last_exit: str | None
    last_lines: tuple[str, ...]
    """The end of its output; filled once something went wrong."""


class ActivityShape(Reply, frozen=True, kw_only=True):
    """Why the session counts as used. Ours."""

    last_active_at: datetime | None
    reason: str
    open_websockets: int


class ParentCheckpointShape(Reply, frozen=True, kw_only=True):
    """What a Studio was added from. Names are empty once what they name is gone."""

    checkpoint_id: int
    checkpoint_name: str
    session_id: str
    studio_name: str


class CheckpointShape(Reply, frozen=True, kw_only=True):
    """What one session saved, or is saving."""

    id: int
    name: str
    date_created: datetime
    date_saved: datetime | None
    """As of when the files are safe; null before they first are."""
    author: UserShape
    """Who started the session."""
    path: str
    """Where it is, in the compute environment's work directory."""
    status: str
    """empty interim finalized invalid"""

    session_id: SessionId
    """Ours, as all that follows."""
    run_number: int
    generation: int
    """How often it was saved; nothing can begin with 0."""
    entries: int
    """Files, folders and links."""
    size: int
    """Bytes of all files together."""
    stored_size: int
    """Bytes that the session has added to the work directory; equal content is stored once."""
    image: str
    """What it was taken over."""
    parent_checkpoint_id: int | None
    """What the session began with, which may be deleted by now; null is the bare image."""
    message: str
    """Why it is as old as it is; empty while all is well."""
    saving: bool
    """Files are being saved now, or were asked to be and are not safe yet."""


class CheckpointList(Reply, frozen=True, kw_only=True):
    """One page of a Studio's checkpoints, newest first."""

    checkpoints: tuple[CheckpointShape, ...]
    total_size: int


class StudioShape(Reply, frozen=True, kw_only=True):
    """A Studio as one person may see it."""

    session_id: SessionId
    workspace_id: int
    parent_checkpoint: ParentCheckpointShape | None
    """What it was added from."""
    user: UserShape
    name: str
    description: str
    studio_url: str
    compute_env: ComputeEnvShape
    template: TemplateShape
    configuration: Configuration
    date_created: datetime
    last_updated: datetime
    last_started: datetime | None
    effective_lifespan_hours: int
    status_info: StatusShape
    progress: tuple[StepShape, ...]
    active_connections: tuple[ConnectionShape, ...]
    mounted_data_links: tuple[str, ...] = ()
    wave_build_url: None = None
    base_image: None = None
    custom_image: bool = False
    remote_config: None = None
    is_private: bool
    allowed_users: tuple[UserShape, ...]
    labels: tuple[LabelShape, ...]

    run_number: int
    """Ours: the newest run, 0 before the first start."""
    deadline: datetime | None
    """Ours: when the lifespan ends; null keeps running."""
    allowed_actions: tuple[str, ...]
    """Ours: what the caller may do: edit delete label start stop extend connect."""
    health: HealthShape | None
    resources: ResourceShape | None
    volume: VolumeShape | None
    tool: ToolShape | None
    activity: ActivityShape | None
    checkpoint: CheckpointShape | None
    """Ours: of the session under way; else what the next one begins with."""
    checkpoint_interval_seconds: float
    """Ours: between two times that a session is saved by itself."""
    warnings: tuple[str, ...]
    """Ours: what the user of this session gave up or should know."""


class StudioReply(Reply, frozen=True, kw_only=True):
    """A new Studio."""

    studio: StudioShape


class StudioList(Reply, frozen=True, kw_only=True):
    """One page of Studios, newest first."""

    studios: tuple[StudioShape, ...]
    total_size: int


class JobReply(Reply, frozen=True, kw_only=True):
    """A start or stop was written down; it is carried out even if the server restarts now."""

    job_submitted: bool
    session_id: SessionId
    status_info: StatusShape


class TemplateList(Reply, frozen=True, kw_only=True):
    """Templates that Studios can be added from."""

    templates: tuple[TemplateShape, ...]
    total_size: int


class RemovedEvent(Reply, frozen=True, kw_only=True):
    """Data of the event `removed`: the Studio is gone, or out of the caller's sight."""

    session_id: SessionId
