"""The commands on Studios: who may, and what is refused how."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from common.ids import RunNumber, SessionId
from common.tokens import AGENT_AUDIENCE, AgentClaims, TokenVerifier
from control_plane.errors import ConflictError, InvalidError, NotFoundError, RefusedError
from control_plane.model import (
    DEFAULT_COMPUTE_ENV,
    DEFAULT_WORKSPACE,
    Configuration,
    Person,
    Role,
    SessionConfiguration,
    Status,
    WorkspaceSettings,
)
from control_plane.validation import CreateStudio, StartStudio, UpdateStudio

if TYPE_CHECKING:
    from tests.support.core_plane import Plane

NOWHERE = SessionId("ffffffff")


async def member(plane: Plane, role: Role, name: str = "Bob") -> Person:
    return await plane.service.add_user(plane.admin, name, role)


# ── Studios ──────────────────────────────────────────────────────────────────


async def test_list_searches_name_description_and_id_literally(plane: Plane) -> None:
    for name, description in (("alpha", "50% off"), ("Beta", ""), ("gamma_", "alphabet")):
        request = CreateStudio(
            name=name, description=description, compute_env_id=DEFAULT_COMPUTE_ENV
        )
        await plane.service.create(plane.admin, request, auto_start=False)
        await plane.clock.advance(1)

    async def names(search: str) -> list[str]:
        found, total = await plane.service.list(plane.admin, search=search)
        assert total == len(found)
        return [studio.name for studio in found]

    assert await names("") == ["gamma_", "Beta", "alpha"]
    assert await names("ALPHA") == ["gamma_", "alpha"]
    assert await names("%") == ["alpha"]
    assert await names("_") == ["gamma_"]
    first = (await plane.service.list(plane.admin))[0][0]
    assert await names(first.session_id) == [first.name]


async def test_list_pages(plane: Plane) -> None:
    for number in range(5):
        await plane.create(f"number {number}")
        await plane.clock.advance(1)
    page, total = await plane.service.list(plane.admin, max=2, offset=1)
    assert ([studio.name for studio in page], total) == (["number 3", "number 2"], 5)
    with pytest.raises(InvalidError):
        await plane.service.list(plane.admin, max=101)
    with pytest.raises(InvalidError):
        await plane.service.list(plane.admin, offset=-1)


async def test_names_are_unique_until_deleted(plane: Plane) -> None:
    studio = await plane.create("demo")
    with pytest.raises(ConflictError, match="already"):
        await plane.create("demo")
    with pytest.raises(ConflictError, match="already"):
        await plane.service.validate_name(plane.admin, "demo")
    with pytest.raises(InvalidError):
        await plane.service.validate_name(plane.admin, "")
    await plane.service.validate_name(plane.admin, "other")
    other = await plane.create("other")
    rename = UpdateStudio(name="demo")
    with pytest.raises(ConflictError):
        await plane.service.update(plane.admin, other.session_id, rename)
    await plane.service.delete(plane.admin, studio.session_id)
    renamed = await plane.service.update(plane.admin, other.session_id, rename)
    assert renamed.name == "demo"


async def test_bad_request_adds_nothing(plane: Plane) -> None:
    request = CreateStudio(
        name="demo", compute_env_id=DEFAULT_COMPUTE_ENV, configuration=Configuration(cpu=0)
    )
    with pytest.raises(InvalidError, match="CPUs"):
        await plane.service.create(plane.admin, request, auto_start=True)
    assert await plane.service.list(plane.admin) == ([], 0)


async def test_unknown_studio_is_not_found_by_any_command(plane: Plane) -> None:
    service, admin = plane.service, plane.admin
    for call in (
        service.get(admin, NOWHERE),
        service.delete(admin, NOWHERE),
        service.start(admin, NOWHERE),
        service.stop(admin, NOWHERE),
        service.extend(admin, NOWHERE),
        service.update(admin, NOWHERE, UpdateStudio()),
        service.wait_desired(NOWHERE, RunNumber(1), after=0, wait_seconds=0),
    ):
        with pytest.raises(NotFoundError, match="list of Studios"):
            await call


async def test_roles_are_asked_before_anything_is_done(plane: Plane) -> None:
    studio = await plane.create()
    viewer, launcher = await member(plane, Role.VIEW), await member(plane, Role.LAUNCH, "Carol")
    service = plane.service
    for call in (
        service.create(
            launcher,
            CreateStudio(name="x", compute_env_id=DEFAULT_COMPUTE_ENV),
            auto_start=False,
        ),
        service.start(viewer, studio.session_id),
        service.stop(viewer, studio.session_id),
        service.extend(viewer, studio.session_id),
        service.delete(launcher, studio.session_id),
        service.update(launcher, studio.session_id, UpdateStudio(name="x")),
        service.change_workspace_settings(launcher, WorkspaceSettings()),
        service.add_user(launcher, "Dave", Role.VIEW),
        service.set_role(launcher, viewer.id, Role.ADMIN),
    ):
        with pytest.raises(RefusedError, match="ask"):
            await call
    assert (await service.start(launcher, studio.session_id)).status is Status.STARTING


async def test_edit_needs_a_stopped_studio_but_access_may_change_at_any_time(plane: Plane) -> None:
    studio = await plane.running()
    with pytest.raises(ConflictError, match="stop it first"):
        await plane.service.update(plane.admin, studio.session_id, UpdateStudio(name="x"))
    private = UpdateStudio(name=studio.name, is_private=True)
    changed = await plane.service.update(plane.admin, studio.session_id, private)
    assert (changed.is_private, changed.access_version) == (True, studio.access_version + 1)
    again = await plane.service.update(plane.admin, studio.session_id, private)
    assert again == changed


async def test_labels_are_set_and_replaced(plane: Plane) -> None:
    studio = await plane.create()
    async with plane.service.core.store.write() as transaction:
        labels = [await transaction.insert_label(DEFAULT_WORKSPACE, name) for name in "ab"]
    for wanted in ([0, 1], [1], []):
        update = UpdateStudio(label_ids=tuple(labels[index].id for index in wanted))
        changed = await plane.service.update(plane.admin, studio.session_id, update)
        assert list(changed.labels) == [labels[index] for index in wanted]
        assert (await plane.get(studio)).labels == changed.labels


async def test_workspace_limits_running_sessions(plane: Plane) -> None:
    settings = WorkspaceSettings(running_sessions_max=1)
    await plane.service.change_workspace_settings(plane.admin, settings)
    first = await plane.create("first", auto_start=True)
    with pytest.raises(ConflictError, match="allows 1 running sessions"):
        await plane.create("second", auto_start=True)
    assert (await plane.service.list(plane.admin))[1] == 1
    await plane.service.start(plane.admin, first.session_id)


async def test_workspace_lifespan_wins_for_sessions_started_afterwards(plane: Plane) -> None:
    running = await plane.running()
    settings = WorkspaceSettings(lifespan_hours=2)
    await plane.service.change_workspace_settings(plane.admin, settings)
    assert (await plane.get(running)).effective_lifespan_hours == 8
    other = await plane.create("other", auto_start=True)
    assert other.deadline == plane.clock.now() + timedelta(hours=2)
    options = StartStudio(configuration=SessionConfiguration(lifespan_hours=9))
    with pytest.raises(InvalidError, match="The workspace sets"):
        await plane.service.start(plane.admin, other.session_id, options)
    forever = WorkspaceSettings(lifespan_hours=0)
    await plane.service.change_workspace_settings(plane.admin, forever)
    third = await plane.create("third", auto_start=True)
    assert (third.deadline, third.effective_lifespan_hours) == (None, 0)
    with pytest.raises(ConflictError, match="keeps running"):
        await plane.service.extend(plane.admin, third.session_id)


async def test_private_by_default_is_the_workspaces_choice(plane: Plane) -> None:
    settings = WorkspaceSettings(private_studio_by_default=True)
    await plane.service.change_workspace_settings(plane.admin, settings)
    assert await plane.service.workspace_settings(plane.admin) == settings
    assert (await plane.create()).is_private


async def test_environment_of_the_session_wins(plane: Plane) -> None:
    await plane.service.ensure_workspace(
        work_dir="file:///w", environment={"A": "env", "B": "env", "C": "env"}
    )
    configuration = Configuration(environment={"B": "studio", "C": "studio"})
    studio = await plane.service.create(
        plane.admin,
        CreateStudio(name="demo", compute_env_id=DEFAULT_COMPUTE_ENV, configuration=configuration),
        auto_start=False,
    )
    options = StartStudio(configuration=SessionConfiguration(environment={"C": "session"}))
    await plane.service.start(plane.admin, studio.session_id, options)
    await plane.reconciler.run_once()
    spec = plane.host.agents[studio.session_id, RunNumber(1)].spec
    assert spec is not None
    assert spec.environment == {"A": "env", "B": "studio", "C": "session"}
    assert spec.work_directory.url == "file:///w"
    assert spec.session_host == f"a{studio.session_id}.studio.localhost:9191"
    verifier = TokenVerifier(spec.token_keys, plane.clock)
    claims = verifier.verify(spec.agent_token.reveal(), AgentClaims, audience=AGENT_AUDIENCE)
    assert (claims.sid, claims.run) == (studio.session_id, 1)
