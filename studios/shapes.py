"""What the API answers, as far as people and scripts see it through the command line.

Names are the API's own (camelCase on the wire). Every field that an older or newer control plane
may leave out has a default, and unknown ones are ignored. `-o json` prints these structures, so
what scripts read doesn't change with the server's version.
"""

from __future__ import annotations

from datetime import datetime

import msgspec


class Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One of the API's."""


class Person(Shape, frozen=True, kw_only=True):
    """Who made a Studio, or may connect to it."""

    id: int = 0
    user_name: str = ""
    email: str | None = None
    avatar: str | None = None


class StatusInfo(Shape, frozen=True, kw_only=True):
    """`status` is one of building buildFailed starting running stopping stopped errored."""

    status: str
    message: str = ""
    last_update: datetime | None = None
    stop_reason: str | None = None


class ProgressStep(Shape, frozen=True, kw_only=True):
    """`status` is one of pending in-progress succeeded errored."""

    status: str
    message: str = ""
    warnings: tuple[str, ...] = ()


class ComputeEnv(Shape, frozen=True, kw_only=True):
    """Where sessions run."""

    id: str
    name: str = ""
    platform: str = ""
    region: str | None = None
    work_dir: str | None = None
    environment: tuple[str, ...] | None = None
    """Names of the variables that Studios inherit."""


class Template(Shape, frozen=True, kw_only=True):
    """`repository` is what a new Studio names as its tool."""

    repository: str
    icon: str = ""
    status: str = ""
    tool: str = ""
    name: str = ""
    tag: str = ""


class DataMount(Shape, frozen=True, kw_only=True):
    """One data link of a Studio."""

    data_link_id: str
    path: str = ""


class Configuration(Shape, frozen=True, kw_only=True):
    """How a Studio's sessions run."""

    gpu: int = 0
    cpu: int = 0
    memory: int = 0
    """MiB."""
    lifespan_hours: int | None = None
    """0 keeps the session running."""
    mount_data: tuple[str, ...] = ()
    mount_data_v2: tuple[DataMount, ...] = msgspec.field(default=(), name="mountDataV2")
    environment: dict[str, str] = {}
    conda_environment: str = ""
    ssh_enabled: bool = False


class Connection(Shape, frozen=True, kw_only=True):
    """One person connected to a session now."""

    id: int = 0
    user_name: str = ""
    since: datetime | None = None
    last_active: datetime | None = None


class Label(Shape, frozen=True, kw_only=True):
    """A label; resource labels have a value."""

    id: int = 0
    name: str = ""
    value: str | None = None
    resource: bool = False
    is_default: bool = False


class Health(Shape, frozen=True, kw_only=True):
    """What the control plane found when it last asked the session through the edge."""

    ok: bool
    at: datetime | None = None
    message: str = ""


class ResourceUse(Shape, frozen=True, kw_only=True):
    """What the session's processes take together."""

    cpu_percent: float
    memory_bytes: int
    processes: int
    measured_at: datetime | None = None


class Volume(Shape, frozen=True, kw_only=True):
    """The session's own file system."""

    size_bytes: int
    free_bytes: int
    limit_bytes: int = 0
    full: bool = False
    message: str = ""


class Tool(Shape, frozen=True, kw_only=True):
    """The tool's process."""

    phase: str
    restarts: int = 0
    last_exit: str | None = None
    last_lines: tuple[str, ...] = ()


class Activity(Shape, frozen=True, kw_only=True):
    """Why the session counts as used."""

    last_active_at: datetime | None = None
    reason: str = ""
    open_websockets: int = 0


class ParentCheckpoint(Shape, frozen=True, kw_only=True):
    """What a Studio was added from. Names are empty once what they name is gone."""

    checkpoint_id: int
    checkpoint_name: str = ""
    session_id: str = ""
    studio_name: str = ""


class Checkpoint(Shape, frozen=True, kw_only=True):
    """What one session saved, or is `saving` now. `status`: empty interim finalized invalid."""

    id: int
    name: str
    status: str
    session_id: str = ""
    run_number: int = 0
    date_created: datetime | None = None
    date_saved: datetime | None = None
    """As of when the files are safe; null before they first are."""
    author: Person = Person()
    path: str = ""
    generation: int = 0
    entries: int = 0
    size: int = 0
    stored_size: int = 0
    image: str = ""
    parent_checkpoint_id: int | None = None
    message: str = ""
    saving: bool = False


class CheckpointPage(Shape, frozen=True, kw_only=True):
    """A part of a Studio's checkpoints, newest first; `total_size` counts all that match."""

    checkpoints: tuple[Checkpoint, ...] = ()
    total_size: int = 0


class NewCheckpointName(Shape, frozen=True, kw_only=True):
    """A checkpoint's other name."""

    name: str


class Studio(Shape, frozen=True, kw_only=True):
    """One Studio."""

    session_id: str
    workspace_id: int | None = None
    name: str
    description: str = ""
    studio_url: str = ""
    status_info: StatusInfo
    progress: tuple[ProgressStep, ...] = ()
    user: Person = Person()
    compute_env: ComputeEnv | None = None
    template: Template | None = None
    configuration: Configuration = Configuration()
    active_connections: tuple[Connection, ...] = ()
    mounted_data_links: tuple[str, ...] = ()
    labels: tuple[Label, ...] = ()
    is_private: bool = False
    allowed_users: tuple[Person, ...] = ()
    allowed_actions: tuple[str, ...] = ()
    """What the caller may do: edit delete label start stop extend connect."""
    run_number: int = 0
    effective_lifespan_hours: int | None = None
    deadline: datetime | None = None
    """When the lifespan ends; null keeps running."""
    health: Health | None = None
    resources: ResourceUse | None = None
    volume: Volume | None = None
    checkpoint_interval_seconds: float = 300.0
    """Between two times that a session is saved by itself."""
    tool: Tool | None = None
    activity: Activity | None = None
    parent_checkpoint: ParentCheckpoint | None = None
    checkpoint: Checkpoint | None = None
    """Of the session under way; else what the next one begins with."""
    warnings: tuple[str, ...] = ()
    date_created: datetime | None = None
    last_updated: datetime | None = None
    last_started: datetime | None = None

    @property
    def status(self) -> str:
        return self.status_info.status


class StudioPage(Shape, frozen=True, kw_only=True):
    """A part of the list; `total_size` counts all that match."""

    studios: tuple[Studio, ...] = ()
    total_size: int = 0


class StudioReply(Shape, frozen=True, kw_only=True):
    """What creating a Studio answers."""

    studio: Studio


class Templates(Shape, frozen=True, kw_only=True):
    """The tools that new Studios can have."""

    templates: tuple[Template, ...] = ()
    total_size: int = 0


class ComputeEnvs(Shape, frozen=True, kw_only=True):
    """Where new Studios can run."""

    compute_envs: tuple[ComputeEnv, ...] = ()


class ErrorReply(Shape, frozen=True, kw_only=True):
    """Every error's body."""

    message: str


class NewConfiguration(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """How a new Studio's sessions shall run; what is left out takes the platform's default."""

    gpu: int | None = None
    cpu: int | None = None
    memory: int | None = None
    lifespan_hours: int | None = None
    environment: dict[str, str] = {}


class NewStudio(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """What a new Studio is asked for."""

    name: str
    compute_env_id: str
    data_studio_tool_url: str | None = None
    description: str = ""
    configuration: NewConfiguration = NewConfiguration()
    is_private: bool = False
    initial_checkpoint_id: int | None = None


class Scope(Shape, frozen=True, kw_only=True):
    """Which of a session's own endpoints a token is for."""

    scope: str


class ScopedToken(Shape, frozen=True, kw_only=True):
    """A token good for `url` for some minutes."""

    token: str
    url: str
