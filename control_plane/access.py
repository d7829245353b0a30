"""Who may do what: one pure question, asked by API, page and edge alike.

| action                          | Owner | Admin | Maintain | Launch | Connect | View |
|---------------------------------|-------|-------|----------|--------|---------|------|
| read                            | yes   | yes   | yes      | yes    | yes     | yes  |
| create, edit, delete, label     | yes   | yes   | yes      |        |         |      |
| start, stop, extend             | yes   | yes   | yes      | yes    |         |      |
| connect                         | yes   | yes   | yes      | yes    | yes     |      |
| workspace settings, users       | yes   | yes   |          |        |         |      |

A private Studio narrows this: only its creator and the allowed users, each within their role, may
do anything but read it. Owner and Admin may still start, stop, extend, delete and label it, because
they answer for what it costs; but they may neither connect nor edit it, because an edit could make
it public and so let them in.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from control_plane.model import Role

if TYPE_CHECKING:
    from control_plane.model import Person, Studio


class Action(StrEnum):
    """What can be asked; the value completes “you may not …”."""

    READ = "see this Studio"
    CREATE = "add Studios"
    EDIT = "edit this Studio"
    DELETE = "delete this Studio"
    LABEL = "label this Studio"
    START = "start this Studio"
    STOP = "stop this Studio"
    EXTEND = "extend this Studio"
    CONNECT = "connect to this Studio"
    SETTINGS = "change the workspace's settings"
    USERS = "manage users"


class Allowed(msgspec.Struct, frozen=True):
    """Go on."""


class Refused(msgspec.Struct, frozen=True):
    """No, and why: one sentence that says whom to ask."""

    reason: str


Decision = Allowed | Refused

_ADMINS = frozenset({Role.OWNER, Role.ADMIN})
_MAINTAINERS = _ADMINS | {Role.MAINTAIN}
_LAUNCHERS = _MAINTAINERS | {Role.LAUNCH}
_CONNECTERS = _LAUNCHERS | {Role.CONNECT}
_EVERYBODY = _CONNECTERS | {Role.VIEW}

ROLES: dict[Action, frozenset[Role]] = {
    Action.READ: _EVERYBODY,
    Action.CREATE: _MAINTAINERS,
    Action.EDIT: _MAINTAINERS,
    Action.DELETE: _MAINTAINERS,
    Action.LABEL: _MAINTAINERS,
    Action.START: _LAUNCHERS,
    Action.STOP: _LAUNCHERS,
    Action.EXTEND: _LAUNCHERS,
    Action.CONNECT: _CONNECTERS,
    Action.SETTINGS: _ADMINS,
    Action.USERS: _ADMINS,
}

_ADMINS_DESPITE_PRIVATE = frozenset(
    {Action.START, Action.STOP, Action.EXTEND, Action.DELETE, Action.LABEL}
)


def may(person: Person, action: Action, studio: Studio | None = None) -> Decision:
    """Answer for one person; `studio` is needed for actions on one, and None for the others."""
    if person.role not in ROLES[action]:
        return Refused(_role_reason(person, action, studio))
    if studio is None or not studio.is_private or action is Action.READ:
        return Allowed()
    if person.id == studio.owner.id or person.id in studio.allowed_user_ids:
        return Allowed()
    if person.role in _ADMINS and action in _ADMINS_DESPITE_PRIVATE:
        return Allowed()
    return Refused(
        f"The Studio “{studio.name}” is private: ask {studio.owner.name}, its owner, for access."
    )


def _role_reason(person: Person, action: Action, studio: Studio | None) -> str:
    refused = f"With the role {person.role.title()} you may not {action.value}"
    if action is Action.CONNECT and studio is not None:
        return f"{refused}: ask {studio.owner.name}, its owner, or an Owner or Admin for a role."
    if studio is not None:
        return f"{refused}: ask {studio.owner.name}, its owner."
    return f"{refused}: ask an Owner or Admin of the workspace."
