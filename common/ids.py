"""Identifiers that every program shares, as types of their own so that they can't be mixed up."""

from __future__ import annotations

import re
from typing import NewType

SessionId = NewType("SessionId", str)
"""8 lower-case hex digits; belongs to a Studio for life, whatever it runs."""

RunNumber = NewType("RunNumber", int)
"""One start of a Studio. Given by the control plane, only grows, at least 1."""

UserId = NewType("UserId", int)

_SESSION_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)


def parse_session_id(text: str) -> SessionId:
    """Return `text` as a session id, or raise ValueError."""
    if not _SESSION_ID.fullmatch(text):
        raise ValueError(f"{text!r} is not a session id: 8 lower-case hex digits")
    return SessionId(text)
