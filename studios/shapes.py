"""What the API answers, as far as people and scripts see it through the command line.

Names are the API's own (camelCase on the wire). Every field that an older or newer control plane
may leave out has a default, and unknown ones are ignored. `-o json` prints these structures.
"""

from __future__ import annotations

from datetime import datetime

import msgspec


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class Person(_Shape, frozen=True, kw_only=True):
    """Who made a Studio, or is connected to it."""

    id: int = 0
    user_name: str = ""


class StatusInfo(_Shape, frozen=True, kw_only=True):
    """`status` is one of building buildFailed starting running stopping stopped errored."""

    status: str
    message: str | None = ""
    last_update: datetime | None = None
    stop_reason: str | None = None


class ProgressStep(_Shape, frozen=True, kw_only=True):
    """`status` is one of pending in-progress succeeded errored."""

    status: str
    message: str = ""
    warnings: tuple[str, ...] | None = ()


class ComputeEnv(_Shape, frozen=True, kw_only=True):
    """Where sessions run."""

    id: str
    name: str = ""
    platform: str = ""
    region: str | None = ""


class Template(_Shape, frozen=True, kw_only=True):
    """`repository` is what a new Studio names as its tool."""

    repository: str
    icon: str = ""
    status: str = ""
    tool: str = ""


class Configuration(_Shape, frozen=True, kw_only=True, omit_defaults=True):
    """What a Studio was asked to have. Memory in MiB."""

    gpu: int | None = None
    cpu: int | None = None
    memory: int | None = None
    lifespan_hours: int | None = None
    environment: dict[str, str] | None = None
    conda_environment: str | None = None
    ssh_enabled: bool | None = None


class Connection(_Shape, frozen=True, kw_only=True):
    """One person connected to a session now."""

    id: int = 0
    user_name: str = ""
    last_active: datetime | None = None


class Studio(_Shape, frozen=True, kw_only=True):
    """One Studio."""

    session_id: str
    workspace_id: int | None = None
    name: str
    description: str | None = ""
    studio_url: str | None = ""
    user: Person | None = None
    compute_env: ComputeEnv | None = None
    template: Template | None = None
    configuration: Configuration | None = None
    status_info: StatusInfo
    progress: tuple[ProgressStep, ...] | None = ()
    active_connections: tuple[Connection, ...] | None = ()
    effective_lifespan_hours: int | None = None
    is_private: bool | None = False
    allowed_users: tuple[Person, ...] | None = ()
    date_created: datetime | None = None
    last_updated: datetime | None = None
    last_started: datetime | None = None

    @property
    def status(self) -> str:
        return self.status_info.status


class StudioPage(_Shape, frozen=True, kw_only=True):
    """A part of the list; `total_size` counts all that match."""

    studios: tuple[Studio, ...] = ()
    total_size: int = 0


class StudioReply(_Shape, frozen=True, kw_only=True):
    """What creating a Studio answers."""

    studio: Studio


class Templates(_Shape, frozen=True, kw_only=True):
    """The tools that new Studios can have."""

    templates: tuple[Template, ...] = ()
    total_size: int = 0


class ComputeEnvs(_Shape, frozen=True, kw_only=True):
    """Where new Studios can run."""

    compute_envs: tuple[ComputeEnv, ...] = ()


class ErrorReply(_Shape, frozen=True, kw_only=True):
    """Every error's body."""

    message: str


class NewStudio(_Shape, frozen=True, kw_only=True, omit_defaults=True):
    """What a new Studio is asked for."""

    name: str
    compute_env_id: str
    data_studio_tool_url: str
    description: str = ""
    configuration: Configuration = Configuration()
    is_private: bool = False


class User(_Shape, frozen=True, kw_only=True):
    """One person who may log in, with a role: owner admin maintain launch connect view."""

    id: int
    user_name: str = ""
    role: str = ""


class UserInfo(_Shape, frozen=True, kw_only=True):
    """Who a token belongs to."""

    user: User


class Users(_Shape, frozen=True, kw_only=True):
    """Everybody who may log in."""

    users: tuple[User, ...] = ()


class UserReply(_Shape, frozen=True, kw_only=True):
    """What adding or changing a user answers."""

    user: User


class NewUser(_Shape, frozen=True, kw_only=True):
    """A person to add."""

    user_name: str
    role: str


class NewRole(_Shape, frozen=True, kw_only=True):
    """A person's other role."""

    role: str


class LoginLinkRequest(_Shape, frozen=True, kw_only=True, omit_defaults=True):
    """Whom to log in; oneself without a name."""

    user_name: str | None = None


class LoginLink(_Shape, frozen=True, kw_only=True):
    """Logs a browser in once."""

    url: str


class Scope(_Shape, frozen=True, kw_only=True):
    """Which of a session's own endpoints a token is for."""

    scope: str


class ScopedToken(_Shape, frozen=True, kw_only=True):
    """A short-lived token for one scope of one session."""

    token: str
