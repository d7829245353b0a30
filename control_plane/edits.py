"""What an edit makes of a Studio, and whether that may be at any time. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from common.ids import UserId
    from control_plane.model import Studio
    from control_plane.validation import UpdateStudio

_FREE_TO_CHANGE = ("is_private", "allowed_user_ids", "labels", "access_version")
"""Fields that may be edited at any time: people must be able to shut others out of a session."""


def edited(studio: Studio, request: UpdateStudio) -> Studio:
    """Return the Studio as the request wants it, but for labels, which have to be looked up."""
    after = msgspec.structs.replace(
        studio,
        name=studio.name if request.name is None else request.name,
        description=studio.description if request.description is None else request.description,
        configuration=request.configuration or studio.configuration,
        is_private=studio.is_private if request.is_private is None else request.is_private,
        allowed_user_ids=_allowed(studio, request),
    )
    access = (after.is_private, after.allowed_user_ids)
    if access != (studio.is_private, studio.allowed_user_ids):
        after = msgspec.structs.replace(after, access_version=studio.access_version + 1)
    return after


def _allowed(studio: Studio, request: UpdateStudio) -> frozenset[UserId]:
    wanted = request.allowed_user_ids
    return studio.allowed_user_ids if wanted is None else frozenset(wanted)


def is_free(after: Studio, before: Studio) -> bool:
    """Whether nothing has changed but what may at any time."""
    kept = {name: getattr(before, name) for name in _FREE_TO_CHANGE}
    return msgspec.structs.replace(after, **kept) == before
