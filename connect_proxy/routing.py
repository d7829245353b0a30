"""Which host is which session. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from common.ids import SessionId, parse_session_id


@dataclass(frozen=True, slots=True)
class SessionRoute:
    """A session's own host; `host` is canonical: lower case, with the port browsers show."""

    session_id: SessionId
    host: str


@dataclass(frozen=True, slots=True)
class PlatformRoute:
    """The connect domain itself: page and API of the control plane, and the tunnel endpoint."""


@dataclass(frozen=True, slots=True)
class UnknownRoute:
    """No host of ours."""


Route = SessionRoute | PlatformRoute | UnknownRoute


def route(host: bytes, connect_domain: str) -> Route:
    """Say what `host`, a request's Host field, stands for under `connect_domain`."""
    try:
        name = host.decode("ascii").lower()
    except UnicodeDecodeError:
        return UnknownRoute()
    if name == connect_domain:
        return PlatformRoute()
    label, dot, rest = name.partition(".")
    if not dot or rest != connect_domain or not label.startswith("a"):
        return UnknownRoute()
    try:
        return SessionRoute(parse_session_id(label[1:]), name)
    except ValueError:
        return UnknownRoute()
