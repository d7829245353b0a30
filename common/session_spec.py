"""What an engine hands an agent: everything one run needs to know, in one message.

The engine writes it to a file descriptor, or to a file of mode 0600 that the agent removes once
read; it never travels through a process's environment or arguments, because it holds credentials.
The tool sees none of it but `tool` and `environment`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from common.ids import RunNumber, SessionId, parse_session_id
from common.secret import Secret
from common.wire import MalformedMessageError, decode

SPEC_VERSION = 1
SPEC_BYTES_MAX = 1024 * 1024  # environments and mount lists fit; a stream gone wrong does not
_PORT_MAX = 65535


class _Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    pass


class ToolSpec(_Wire, frozen=True, kw_only=True):
    """How to start the tool and how to know that it answers.

    `command` is an argument vector; `${CONNECT_TOOL_PORT}` and other variables of the tool's
    environment are replaced in each argument, no shell is involved.
    """

    name: str
    command: tuple[str, ...]
    port: int
    working_directory: str
    readiness_path: str = "/"
    readiness_timeout_seconds: float = 600.0  # an IDE that isn't up after ten minutes never is
    activity: Literal["none", "jupyter"] = "none"
    path_prefix: str = ""


class VolumeLimits(_Wire, frozen=True, kw_only=True):
    """Sizes of the session's volume, bytes. Defaults are the documented ones: 2, 1, 2 and 30 GB."""

    initial_bytes: int = 2 * 1024**3
    free_bytes_min: int = 1024**3
    step_bytes: int = 2 * 1024**3
    limit_bytes: int = 30 * 1024**3


class ResourceLimits(_Wire, frozen=True, kw_only=True):
    """What the session's processes may use together. None means unlimited."""

    cpus: float | None = None
    memory_bytes: int | None = None
    processes: int | None = None


class RootSpec(_Wire, frozen=True, kw_only=True):
    """What the session's root is made from."""

    image: Literal["host", "container"] = "container"
    """`container`: the agent's own `/`, with all that is mounted below it. `host`, for the engine
    `local`: the machine's, less what is nobody's business in a session, and nothing is mounted
    below it but what `carried` names."""
    hidden: tuple[str, ...] = ()
    """Folders of the platform that no session may see; the agent knows its own."""
    carried: tuple[str, ...] = ()
    """Mounts of the machine that come along."""


class MountSpec(_Wire, frozen=True, kw_only=True):
    """One data link to mount at /workspace/data/<name>."""

    name: str
    url: str
    writable: bool = False


class WorkDirectory(_Wire, frozen=True, kw_only=True):
    """Where checkpoints live: `file://`, `s3://`, `gs://` or `az://`, and how to get in."""

    url: str
    credentials: dict[str, Secret] = {}
    single_writer: bool = False
    endpoint: str = ""
    """Another server than the provider's own."""
    region: str = ""
    account: str = ""
    """Azure's storage account."""


class CheckpointSpec(_Wire, frozen=True, kw_only=True):
    """Under which id a run saves its files, and what it begins with. Ids have 16 hex digits."""

    id: str
    """Of this run alone: no other ever writes to it."""
    parent_id: str | None = None
    """The checkpoint whose last generation is restored; None begins with the bare image."""
    parent_run_number: int | None = None
    """The number that seals the parent: no run of the parent's Studio up to it writes to it from
    then on. Its Studio's newest; None is this run's own number, for a Studio that goes on."""
    image: str = ""
    """What the root is made from, as it is compared with what a checkpoint was taken over. Where
    it is empty the agent finds that out."""


class SessionSettings(_Wire, frozen=True, kw_only=True):
    """Numbers an administrator may turn, with the documented defaults."""

    status_interval_seconds: float = 10.0
    statistics_interval_seconds: float = 30.0
    stop_grace_seconds: float = 30.0
    checkpoint_interval_seconds: float = 300.0


class SessionSpec(_Wire, frozen=True, kw_only=True):
    """One run of one Studio. See the module's docstring for how it travels."""

    version: int
    session_id: SessionId
    run_number: RunNumber
    studio_name: str
    control_plane_url: str
    edge_urls: tuple[str, ...]
    session_host: str
    """Host (with port where not the scheme's own) that browsers use: `a<id>.<connect-domain>`."""
    agent_token: Secret
    token_keys: str
    """The control plane's public keys, a JWKS document: the gateway checks `/.studio/` tokens."""
    tool: ToolSpec
    environment: dict[str, str]
    """The tool's environment besides CONNECT_*: compute environment + Studio + session."""
    host_state_dir: str
    """A folder that outlives the agent: the log, later the volume's image. Ours alone: 0700."""
    work_directory: WorkDirectory
    checkpoint: CheckpointSpec | None = None
    """None saves nothing: a volume is all there is."""
    volume: VolumeLimits = VolumeLimits()
    resources: ResourceLimits = ResourceLimits()
    root: RootSpec = RootSpec()
    mounts: tuple[MountSpec, ...] = ()
    profile: Literal["default", "docker"] = "default"
    settings: SessionSettings = SessionSettings()


def parse(data: bytes) -> SessionSpec:
    """Return the valid spec in `data`, or raise MalformedMessageError naming what is wrong."""
    if len(data) > SPEC_BYTES_MAX:
        raise MalformedMessageError(f"session spec is larger than {SPEC_BYTES_MAX} bytes")
    spec = decode(data, SessionSpec)
    if spec.version != SPEC_VERSION:
        raise MalformedMessageError(
            f"session spec has version {spec.version}, this agent understands {SPEC_VERSION}: "
            "use an image whose agent matches the control plane"
        )
    try:
        parse_session_id(spec.session_id)
    except ValueError as error:
        raise MalformedMessageError(str(error)) from None
    if spec.run_number < 1:
        raise MalformedMessageError(f"run number {spec.run_number} is not positive")
    if not spec.tool.command:
        raise MalformedMessageError("the tool's command is empty")
    if not 0 < spec.tool.port <= _PORT_MAX:
        raise MalformedMessageError(f"tool port {spec.tool.port} is not between 1 and {_PORT_MAX}")
    return spec
