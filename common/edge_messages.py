"""What edge and control plane say to each other.

The edge keeps a copy of what it needs to answer requests without asking: which sessions exist, and
an access version for each. The control plane streams it (`GET /api/edge/v1/feed`, one JSON
`FeedLine` a line): first every session and `complete`, then each change; an empty line every
15 s says that the stream lives. A stream that breaks is opened again and starts over, so nothing
needs to be remembered on either side.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from common.ids import SessionId

FEED_HEARTBEAT_SECONDS = 15.0
"""Shorter than the usual 30–60 s after which middleboxes drop silent connections."""


class _Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Unknown fields are ignored: neighbouring versions must talk."""


class EdgeSession(_Wire, frozen=True, kw_only=True):
    """What an edge knows of one Studio."""

    session_id: SessionId
    name: str
    status: str
    message: str
    owner: str
    """Name of the person to ask for access."""
    run_number: int
    access_version: int
    """Grows whenever somebody may have lost or won the right to connect. A token signed under
    an older version is checked with the control plane before it is used again."""


class FeedLine(_Wire, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the feed; exactly one field is set."""

    session: EdgeSession | None = None
    removed: SessionId | None = None
    complete: bool = False


class RedeemRequest(_Wire, frozen=True, kw_only=True):
    """Exchange a login code (works once, 60 s) for a connect token. POST /api/edge/v1/redeem."""

    code: str
    host: str


class RenewRequest(_Wire, frozen=True, kw_only=True):
    """Ask whether a connect token's bearer still has access. POST /api/edge/v1/renew."""

    token: str


class TokenReply(_Wire, frozen=True, kw_only=True):
    """A fresh connect token (its claims may say `refused`). A person who is gone gets 401."""

    token: str


class Connection(_Wire, frozen=True, kw_only=True):
    """One person connected to one session through this edge."""

    session_id: SessionId
    user_id: int
    since: datetime
    last_active: datetime


class PresenceReport(_Wire, frozen=True, kw_only=True):
    """Everybody connected through an edge. PUT /api/edge/v1/presence, every 30 s and on change."""

    edge_id: str
    connections: tuple[Connection, ...]
