"""Handlers: the workspace's settings, compute environments and labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import msgspec

from control_plane.api.present import compute_env, label_shape
from control_plane.api.route import Body, Call, Parameters, Reply
from control_plane.api.shapes import (
    ComputeEnvShape,
    LabelShape,
)
from control_plane.errors import NotFoundError
from control_plane.model import DEFAULT_WORKSPACE, Person, WorkspaceSettings

if TYPE_CHECKING:
    from control_plane.service import StudioService


class WorkspacePath(Parameters, frozen=True, kw_only=True):
    """One workspace; organizations are accepted for clients of the reference platform."""

    org_id: str
    workspace_id: int


class SettingsShape(Reply, frozen=True, kw_only=True):
    """What holds for every Studio of the workspace."""

    lifespan_hours: int | None
    """0 keeps sessions running; null lets each Studio choose; else it locks the field."""
    private_studio_by_default: bool
    container_repository: str
    name_strategy: str
    running_sessions_max: int | None
    """Ours; null for no limit."""


class SettingsRequest(Body, frozen=True, kw_only=True):
    """All settings; what is left out goes back to its default."""

    lifespan_hours: int | None = None
    private_studio_by_default: bool = False
    container_repository: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    name_strategy: Annotated[str, msgspec.Meta(max_length=32)] = ""
    running_sessions_max: Annotated[int, msgspec.Meta(le=2**31 - 1)] | None = None


class ComputeEnvList(Reply, frozen=True, kw_only=True):
    """Where sessions may run."""

    compute_envs: tuple[ComputeEnvShape, ...]


class LabelList(Reply, frozen=True, kw_only=True):
    """Labels of the workspace."""

    labels: tuple[LabelShape, ...]
    total_size: int


@dataclass(frozen=True, slots=True)
class WorkspaceHandlers:
    """Each takes a checked call and asks the service."""

    service: StudioService

    async def describe_settings(self, call: Call[Person, WorkspacePath, None]) -> SettingsShape:
        _check_workspace(call.parameters)
        return _settings(await self.service.workspace_settings(call.who))

    async def change_settings(
        self, call: Call[Person, WorkspacePath, SettingsRequest]
    ) -> SettingsShape:
        _check_workspace(call.parameters)
        wanted = call.body
        settings = WorkspaceSettings(
            lifespan_hours=wanted.lifespan_hours,
            private_studio_by_default=wanted.private_studio_by_default,
            container_repository=wanted.container_repository,
            name_strategy=wanted.name_strategy,
            running_sessions_max=wanted.running_sessions_max,
        )
        return _settings(await self.service.change_workspace_settings(call.who, settings))

    async def list_compute_envs(self, call: Call[Person, Parameters, None]) -> ComputeEnvList:
        envs = await self.service.compute_envs(call.who)
        return ComputeEnvList(
            compute_envs=tuple(
                msgspec.structs.replace(
                    compute_env(env), work_dir=env.work_dir, environment=tuple(env.environment)
                )
                for env in envs
            )
        )

    async def list_labels(self, call: Call[Person, Parameters, None]) -> LabelList:
        labels = tuple(label_shape(label) for label in await self.service.labels(call.who))
        return LabelList(labels=labels, total_size=len(labels))


def _check_workspace(path: WorkspacePath) -> None:
    if path.workspace_id != DEFAULT_WORKSPACE:
        raise NotFoundError(
            f"There is no workspace {path.workspace_id}: this installation has "
            f"workspace {DEFAULT_WORKSPACE}."
        )


def _settings(settings: WorkspaceSettings) -> SettingsShape:
    return SettingsShape(
        lifespan_hours=settings.lifespan_hours,
        private_studio_by_default=settings.private_studio_by_default,
        container_repository=settings.container_repository,
        name_strategy=settings.name_strategy,
        running_sessions_max=settings.running_sessions_max,
    )
