"""What the control plane is told from outside; the only module that reads the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from checkpoints.storage.environment import access_from
from checkpoints.storage.failures import LocationError
from checkpoints.storage.urls import Bucket, check_access, parse_location
from common.session_spec import SessionSettings, VolumeLimits
from control_plane.saving_interval import parse_interval
from control_plane.volume_sizes import parse_size, problem_of_sizes
from control_plane.work_access import WorkAccess

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_DATA_DIR = Path("/var/lib/studios")
DEFAULT_PORT = 9191
_PORT_MAX = 65535
_VOLUME_VARIABLES = {
    "STUDIO_VOLUME_INITIAL": "initial_bytes",
    "STUDIO_VOLUME_FREE": "free_bytes_min",
    "STUDIO_VOLUME_STEP": "step_bytes",
    "STUDIO_VOLUME_LIMIT": "limit_bytes",
}
_INTERVAL_VARIABLE = "STUDIO_CHECKPOINT_INTERVAL"


class InvalidConfigError(ValueError):
    """A setting that can't be used. The text names the setting and what it should look like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlaneConfig:
    """Everything the control plane needs to know; valid once built."""

    data_dir: Path
    """Ours alone (0700): the embedded database, the socket, the sessions' folders."""
    database_url: str
    """SQLAlchemy URL with an async driver."""
    images_dir: Path
    """Holds one folder per tool template, see `common/templates.py`."""
    work_dir: str
    """URL of the work directory of the embedded compute environment."""
    public_url: str = f"http://studio.localhost:{DEFAULT_PORT}"
    """Where browsers find the page; its origin is the only one that may use the page's cookie."""
    connect_domain: str = f"studio.localhost:{DEFAULT_PORT}"
    """Sessions are `a<session id>.<connect_domain>`; with the port as browsers show it."""
    unix_socket: Path | None = None
    host: str = "127.0.0.1"
    port: int | None = None
    """TCP port to listen on besides or instead of the socket; 0 takes a free one."""
    edge_connect_url: str = f"http://studio.localhost:{DEFAULT_PORT}"
    """Edge through which sessions' health is polled: the way users take, without its front door's
    DNS. The session's name travels in the Host header."""
    edge_urls: tuple[str, ...] = (f"http://studio.localhost:{DEFAULT_PORT}",)
    """Edges that agents dial."""
    agent_url: str = f"http://studio.localhost:{DEFAULT_PORT}"
    """Where agents find the control plane."""
    volume: VolumeLimits = field(default_factory=VolumeLimits)
    """Sizes of sessions' volumes; the limit is that of the embedded compute environment."""
    carried: tuple[Path, ...] = ()
    """Folders of this machine that every session of the `local` engine sees, and may write to."""
    session: SessionSettings = field(default_factory=SessionSettings)
    """What agents are told of their sessions."""
    access: WorkAccess = field(default_factory=WorkAccess)
    """How the bucket of the work directory is reached; never written down."""

    def __post_init__(self) -> None:
        for name in ("public_url", "edge_connect_url", "agent_url"):
            _check_origin(name, getattr(self, name))
        for url in self.edge_urls:
            _check_origin("edge_urls", url)
        if not self.connect_domain or any(c in self.connect_domain for c in "/@ "):
            raise InvalidConfigError(
                f"connect_domain {self.connect_domain!r} is not a name, or name:port"
            )
        if self.unix_socket is None and self.port is None:
            raise InvalidConfigError("nothing to listen on: set unix_socket or port")
        if problem := problem_of_sizes(self.volume):
            raise InvalidConfigError(problem)

    @property
    def is_https(self) -> bool:
        return self.public_url.startswith("https://")

    @property
    def scheme(self) -> str:
        """The scheme of page and sessions alike."""
        return "https" if self.is_https else "http"

    @property
    def sessions_dir(self) -> Path:
        """Holds one folder per session of the `local` engine."""
        return self.data_dir / "sessions"

    def session_host(self, session_id: str) -> str:
        """Return the host, with port, that browsers use for a session."""
        return f"a{session_id}.{self.connect_domain}"

    def session_url(self, session_id: str) -> str:
        return f"{self.scheme}://{self.session_host(session_id)}/"


def embedded(
    *,
    data_dir: Path = DEFAULT_DATA_DIR,
    images_dir: Path,
    port: int = DEFAULT_PORT,
    work_dir: str = "",
    database_url: str = "",
) -> ControlPlaneConfig:
    """Return the configuration of `studios up`: everything on one machine, the edge on `port`.

    The control plane itself listens on a unix socket only; the edge is the public door.
    """
    origin = f"http://studio.localhost:{port}"
    return ControlPlaneConfig(
        data_dir=data_dir,
        database_url=database_url or f"sqlite+aiosqlite:///{data_dir / 'studios.db'}",
        images_dir=images_dir,
        work_dir=work_dir or (data_dir / "work").as_uri(),
        public_url=origin,
        connect_domain=f"studio.localhost:{port}",
        unix_socket=data_dir / "control-plane.sock",
        edge_connect_url=origin,
        edge_urls=(origin,),
        agent_url=origin,
    )


def from_environment(environ: Mapping[str, str] = os.environ) -> ControlPlaneConfig:
    """Read `STUDIOS_*`; raises InvalidConfigError naming the variable that is wrong.

    DATA_DIR, DATABASE_URL, IMAGES_DIR, WORK_DIR, PUBLIC_URL, CONNECT_DOMAIN, LISTEN
    (`unix:<path>` or `<host>:<port>`), EDGE_URLS (comma-separated), AGENT_URL and CARRY
    (colon-separated); and what `volume_limits`, `session_settings` and `bucket_access` read.
    """
    data_dir = Path(environ.get("STUDIOS_DATA_DIR", str(DEFAULT_DATA_DIR))).absolute()
    images = environ.get("STUDIOS_IMAGES_DIR")
    public_url = environ.get("STUDIOS_PUBLIC_URL", f"http://studio.localhost:{DEFAULT_PORT}")
    public_url = public_url.rstrip("/")
    edge_urls = tuple(
        url.strip().rstrip("/")
        for url in environ.get("STUDIOS_EDGE_URLS", public_url).split(",")
        if url.strip()
    )
    unix_socket, host, port = _parse_listen(
        environ.get("STUDIOS_LISTEN", f"unix:{data_dir / 'control-plane.sock'}")
    )
    work_dir = environ.get("STUDIOS_WORK_DIR", (data_dir / "work").as_uri())
    return ControlPlaneConfig(
        data_dir=data_dir,
        database_url=environ.get(
            "STUDIOS_DATABASE_URL", f"sqlite+aiosqlite:///{data_dir / 'studios.db'}"
        ),
        images_dir=Path(images) if images else Path(__file__).parent.parent / "images",
        work_dir=work_dir,
        public_url=public_url,
        connect_domain=environ.get("STUDIOS_CONNECT_DOMAIN", urlsplit(public_url).netloc),
        unix_socket=unix_socket,
        host=host,
        port=port,
        edge_connect_url=edge_urls[0] if edge_urls else public_url,
        edge_urls=edge_urls,
        agent_url=environ.get("STUDIOS_AGENT_URL", public_url).rstrip("/"),
        volume=volume_limits(environ),
        carried=tuple(
            Path(path) for path in environ.get("STUDIOS_CARRY", "").split(os.pathsep) if path
        ),
        session=session_settings(environ),
        access=bucket_access(work_dir, environ),
    )


def volume_limits(environ: Mapping[str, str] = os.environ) -> VolumeLimits:
    """Read `STUDIO_VOLUME_INITIAL`, `…_FREE`, `…_STEP` and `…_LIMIT`, sizes like `2 GB`."""
    sizes = {}
    for variable, name in _VOLUME_VARIABLES.items():
        if text := environ.get(variable):
            try:
                sizes[name] = parse_size(text)
            except ValueError as error:
                raise InvalidConfigError(f"{variable}: {error}") from None
    volume = msgspec.structs.replace(VolumeLimits(), **sizes)
    if problem := problem_of_sizes(volume):
        raise InvalidConfigError(f"{', '.join(_VOLUME_VARIABLES)}: {problem}")
    return volume


def session_settings(environ: Mapping[str, str] = os.environ) -> SessionSettings:
    """Read `STUDIO_CHECKPOINT_INTERVAL`, a time like `5 min`."""
    text = environ.get(_INTERVAL_VARIABLE)
    if not text:
        return SessionSettings()
    try:
        return SessionSettings(checkpoint_interval_seconds=parse_interval(text))
    except ValueError as error:
        raise InvalidConfigError(f"{_INTERVAL_VARIABLE}: {error}") from None


def bucket_access(work_dir: str, environ: Mapping[str, str] = os.environ) -> WorkAccess:
    """Read how the bucket of a work directory is reached; see `checkpoints.storage.environment`."""
    try:
        location = parse_location(work_dir)
        access = access_from(environ, location)
        if not isinstance(location, Bucket):
            return WorkAccess()
        check_access(location, access)
    except LocationError as error:
        raise InvalidConfigError(str(error)) from None
    return WorkAccess(location.scheme, access)


def _parse_listen(text: str) -> tuple[Path | None, str, int | None]:
    if text.startswith("unix:"):
        return Path(text.removeprefix("unix:")), "127.0.0.1", None
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > _PORT_MAX:
        raise InvalidConfigError(f"STUDIOS_LISTEN {text!r} is not unix:<path> or <host>:<port>")
    return None, host.strip("[]") or "127.0.0.1", int(port)


def _check_origin(name: str, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path or parts.query:
        raise InvalidConfigError(
            f"{name} {url!r} is not an origin like https://studio.example.org, without a path"
        )
