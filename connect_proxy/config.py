"""The edge's settings, read once."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from common.secret import Secret


class ConfigError(Exception):
    """A setting is missing or wrong; the text names the variable and what it should be."""


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """Everything an edge needs to know.

    `connect_domain` is the host as browsers see it, with its port where that isn't the scheme's
    own: sessions are at `a<id>.<connect_domain>`, the control plane's page at the domain itself.
    `control_plane_url` is `http(s)://host:port` or `unix:/path/of/socket`.
    """

    connect_domain: str
    control_plane_url: str
    edge_token: Secret
    listen_host: str = "127.0.0.1"
    listen_port: int = 9191
    public_scheme: str = "http"
    edge_id: str = field(default_factory=lambda: secrets.token_hex(4))
    management_host: str = "127.0.0.1"
    management_port: int | None = None
    client_connections_max: int = 2048
    """Of one client address; loopback, where a proxy may be, has none. WebSockets don't count."""
    client_exchanges_max: int = 256
    """Requests of one client address to the platform in progress, as above."""
    drain_seconds_max: float = 10.0
    """How long requests in progress may take to end once the edge is told to."""

    @property
    def platform_origin(self) -> str:
        """The origin of the control plane's page."""
        return f"{self.public_scheme}://{self.connect_domain}"


def from_environment() -> EdgeConfig:
    """Read `STUDIOS_EDGE_*`; raises ConfigError."""
    token_file = _required("STUDIOS_EDGE_TOKEN_FILE")
    try:
        token = Path(token_file).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"STUDIOS_EDGE_TOKEN_FILE: {error}") from None
    management = os.environ.get("STUDIOS_EDGE_MANAGEMENT_PORT")
    return EdgeConfig(
        connect_domain=_required("STUDIOS_EDGE_CONNECT_DOMAIN").lower(),
        control_plane_url=_required("STUDIOS_EDGE_CONTROL_PLANE_URL"),
        edge_token=Secret(token),
        listen_host=os.environ.get("STUDIOS_EDGE_LISTEN_HOST", "127.0.0.1"),
        listen_port=_port("STUDIOS_EDGE_LISTEN_PORT", "9191"),
        public_scheme=_scheme(),
        management_host=os.environ.get("STUDIOS_EDGE_MANAGEMENT_HOST", "127.0.0.1"),
        management_port=None if management is None else _port("STUDIOS_EDGE_MANAGEMENT_PORT", ""),
        client_connections_max=_count("STUDIOS_EDGE_CLIENT_CONNECTIONS_MAX", "2048"),
        client_exchanges_max=_count("STUDIOS_EDGE_CLIENT_EXCHANGES_MAX", "256"),
    )


def _required(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise ConfigError(f"{name} is not set; docs/edge.md lists the edge's settings")
    return value


def _port(name: str, default: str) -> int:
    text = os.environ.get(name, default)
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise ConfigError(f"{name} is {text!r}; it should be a port, 0 to 65535")
    return int(text)


def _count(name: str, default: str) -> int:
    text = os.environ.get(name, default)
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1_000_000:
        raise ConfigError(f"{name} is {text!r}; it should be a number, 1 or more")
    return int(text)


def _scheme() -> str:
    scheme = os.environ.get("STUDIOS_EDGE_PUBLIC_SCHEME", "http")
    if scheme not in ("http", "https"):
        raise ConfigError(f"STUDIOS_EDGE_PUBLIC_SCHEME is {scheme!r}; it should be http or https")
    return scheme
