"""`may()` is the table in its docstring, and private Studios narrow it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from common.ids import SessionId, UserId
from control_plane.access import Action, Allowed, Refused, may
from control_plane.model import (
    DEFAULT_COMPUTE_ENV,
    DEFAULT_WORKSPACE,
    Person,
    PersonName,
    Role,
    Status,
    Studio,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
OWNER_ID, ALLOWED_ID, OTHER_ID = UserId(1), UserId(2), UserId(3)
ON_STUDIO = [action for action in Action if action not in {Action.SETTINGS, Action.USERS}]

TABLE = {
    "OWNER": set(Action),
    "ADMIN": set(Action),
    "MAINTAIN": set(Action) - {Action.SETTINGS, Action.USERS},
    "LAUNCH": {Action.READ, Action.START, Action.STOP, Action.EXTEND, Action.CONNECT},
    "CONNECT": {Action.READ, Action.CONNECT},
    "VIEW": {Action.READ},
}
MANAGE = {Action.START, Action.STOP, Action.EXTEND, Action.DELETE, Action.LABEL}


def studio(*, private: bool) -> Studio:
    return Studio(
        session_id=SessionId("0123abcd"),
        workspace_id=DEFAULT_WORKSPACE,
        name="demo",
        template="jupyterlab",
        owner=PersonName(id=OWNER_ID, name="Ada"),
        compute_env_id=DEFAULT_COMPUTE_ENV,
        is_private=private,
        allowed_user_ids=frozenset({ALLOWED_ID}),
        status=Status.RUNNING,
        status_since=NOW,
        date_created=NOW,
        last_updated=NOW,
    )


def person(role: Role, user_id: UserId = OTHER_ID) -> Person:
    return Person(id=user_id, name="Bob", role=role)


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("role", Role)
def test_roles_may_what_the_table_says(role: Role, action: Action) -> None:
    decision = may(person(role), action, studio(private=False))
    assert isinstance(decision, Allowed) == (action in TABLE[role.name])


@pytest.mark.parametrize("action", ON_STUDIO)
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("user_id", [OWNER_ID, ALLOWED_ID])
def test_creator_and_allowed_users_keep_their_role_when_private(
    role: Role, action: Action, user_id: UserId
) -> None:
    decision = may(person(role, user_id), action, studio(private=True))
    assert isinstance(decision, Allowed) == (action in TABLE[role.name])


@pytest.mark.parametrize("action", ON_STUDIO)
@pytest.mark.parametrize("role", Role)
def test_private_is_closed_to_others_but_admins_manage_it(role: Role, action: Action) -> None:
    if action is Action.CREATE:
        return
    decision = may(person(role), action, studio(private=True))
    manages = role in {Role.OWNER, Role.ADMIN} and action in MANAGE
    assert isinstance(decision, Allowed) == (manages or action is Action.READ)


def test_not_even_admins_connect_to_a_private_session() -> None:
    for role in Role:
        assert isinstance(may(person(role), Action.CONNECT, studio(private=True)), Refused)


@pytest.mark.parametrize("private", [False, True])
def test_viewers_never_connect_not_even_as_creators(private: bool) -> None:
    viewer = person(Role.VIEW, OWNER_ID)
    assert isinstance(may(viewer, Action.CONNECT, studio(private=private)), Refused)


@pytest.mark.parametrize("action", ON_STUDIO)
@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("role", Role)
def test_refusals_name_the_owner_to_ask(role: Role, private: bool, action: Action) -> None:
    decision = may(person(role), action, studio(private=private))
    if isinstance(decision, Refused):
        assert "ask Ada" in decision.reason
        assert decision.reason.endswith(".")


def test_refusals_without_a_studio_name_who_can_help() -> None:
    decision = may(person(Role.LAUNCH), Action.CREATE)
    assert isinstance(decision, Refused)
    assert "ask an Owner or Admin" in decision.reason
