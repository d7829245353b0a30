"""A Studio of the model → its public shape, as one person may see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from common.ids import UserId
from common.templates import TemplateSupport, parse_tag, support
from control_plane.access import Action, Allowed, may
from control_plane.api import shapes
from control_plane.api.present_checkpoints import checkpoint_shape, parent_checkpoint
from control_plane.login import members
from control_plane.model import ACTIVE, Status
from control_plane.progress import progress_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from common.edge_messages import Connection
    from common.ids import SessionId
    from common.messages import StatusReport
    from common.templates import TemplateFacts
    from control_plane.api.presence import Presence
    from control_plane.config import ControlPlaneConfig
    from control_plane.model import ComputeEnv, ComputeEnvId, HealthResult, Label, Person, Studio
    from control_plane.model_checkpoints import Checkpoint
    from control_plane.service import StudioService

_STUDIO_ACTIONS = (
    Action.EDIT,
    Action.DELETE,
    Action.LABEL,
    Action.START,
    Action.STOP,
    Action.EXTEND,
    Action.CONNECT,
)


_INSIDERS = (Action.EDIT, Action.CONNECT)
"""Who may do one of these may know what a Studio's variables hold and what its tool says."""


def is_insider(person: Person, studio: Studio) -> bool:
    return any(isinstance(may(person, action, studio), Allowed) for action in _INSIDERS)


def for_outsiders(shape: shapes.StudioShape) -> shapes.StudioShape:
    """Leave out what may hold secrets: values of variables, and words of the tool."""
    replace = msgspec.structs.replace
    hidden = dict.fromkeys(shape.configuration.environment, "")
    return replace(
        shape,
        configuration=replace(shape.configuration, environment=hidden),
        progress=tuple(replace(step, warnings=()) for step in shape.progress),
        tool=None if shape.tool is None else replace(shape.tool, last_lines=()),
        warnings=(),
    )


def allowed_actions(person: Person, studio: Studio) -> tuple[str, ...]:
    """Name what a person may do with a Studio, in the API's words: `start`, `connect`, …."""
    return tuple(
        action.name.lower()
        for action in _STUDIO_ACTIONS
        if isinstance(may(person, action, studio), Allowed)
    )


@dataclass(frozen=True, slots=True)
class Presenter:
    """Joins a Studio with what else its shape shows: names of people, presence, templates."""

    database: AsyncEngine
    service: StudioService
    presence: Presence
    templates: Mapping[str, TemplateFacts]
    config: ControlPlaneConfig

    async def studio(self, person: Person, studio: Studio) -> shapes.StudioShape:
        (shape,) = await self.studios(person, [studio])
        return shape

    async def studios(
        self, person: Person, studios: Sequence[Studio]
    ) -> tuple[shapes.StudioShape, ...]:
        """Return the shapes of several Studios, with the same few queries as for one."""
        connected = {studio.session_id: self.presence.of(studio.session_id) for studio in studios}
        people = {user_id for studio in studios for user_id in studio.allowed_user_ids}
        people |= {UserId(c.user_id) for found in connected.values() for c in found}
        names = await members.names(self.database, frozenset(people))
        saved = await self.service.checkpoints_shown(studios)
        envs = {env.id: env for env in await self.service.compute_envs(person)}
        shown = [
            self._shape(
                studio,
                self._checkpoint_of(person, studio, saved),
                allowed_actions(person, studio),
                tuple(_connection(c, names) for c in connected[studio.session_id]),
                tuple(_user(user_id, names) for user_id in sorted(studio.allowed_user_ids)),
                envs.get(studio.compute_env_id),
            )
            for studio in studios
        ]
        return tuple(
            shape if is_insider(person, studio) else for_outsiders(shape)
            for studio, shape in zip(studios, shown, strict=True)
        )

    def checkpoint(
        self, person: Person, studio: Studio, checkpoint: Checkpoint
    ) -> shapes.CheckpointShape:
        now = self.service.core.clock.now()
        return checkpoint_shape(checkpoint, studio, now=now, is_insider=is_insider(person, studio))

    def _checkpoint_of(
        self, person: Person, studio: Studio, saved: Mapping[SessionId, Checkpoint]
    ) -> shapes.CheckpointShape | None:
        found = saved.get(studio.session_id)
        return None if found is None else self.checkpoint(person, studio, found)

    def template(self, name: str) -> shapes.TemplateShape:
        """Return a template's shape; one whose folder is gone is `unsupported`."""
        facts = self.templates.get(name)
        if facts is None:
            return shapes.TemplateShape(
                repository=name,
                icon="unknown",
                status=TemplateSupport.UNSUPPORTED,
                tool=name,
                name=name,
                tag="",
            )
        return shapes.TemplateShape(
            repository=f"{facts.name}:{facts.tag}",
            icon=facts.icon,
            status=support(parse_tag(facts.tag)),
            tool=facts.tool,
            name=facts.name,
            tag=facts.tag,
        )

    def _shape(
        self,
        studio: Studio,
        checkpoint: shapes.CheckpointShape | None,
        allowed: tuple[str, ...],
        connected: tuple[shapes.ConnectionShape, ...],
        allowed_users: tuple[shapes.UserShape, ...],
        env: ComputeEnv | None,
    ) -> shapes.StudioShape:
        report = studio.report if studio.status in ACTIVE | {Status.ERRORED} else None
        return shapes.StudioShape(
            session_id=studio.session_id,
            workspace_id=studio.workspace_id,
            parent_checkpoint=parent_checkpoint(studio),
            user=shapes.UserShape(id=studio.owner.id, user_name=studio.owner.name),
            name=studio.name,
            description=studio.description,
            studio_url=self.config.session_url(studio.session_id),
            compute_env=compute_env(env) if env else _unknown_env(studio.compute_env_id),
            template=self.template(studio.template),
            configuration=studio.configuration,
            date_created=studio.date_created,
            last_updated=studio.last_updated,
            last_started=studio.last_started,
            effective_lifespan_hours=studio.effective_lifespan_hours,
            status_info=status_info(studio),
            progress=tuple(
                shapes.StepShape(status=step.status, message=step.message, warnings=step.warnings)
                for step in progress_of(studio)
            ),
            active_connections=connected,
            is_private=studio.is_private,
            allowed_users=allowed_users,
            labels=tuple(label_shape(label) for label in studio.labels),
            run_number=studio.run_number,
            deadline=studio.deadline,
            allowed_actions=allowed,
            health=_health(studio.health),
            resources=_resources(report),
            volume=_volume(report),
            tool=_tool(report),
            activity=_activity(report),
            checkpoint=checkpoint,
            checkpoint_interval_seconds=self.config.session.checkpoint_interval_seconds,
            warnings=report.warnings if report else (),
        )


def status_info(studio: Studio) -> shapes.StatusShape:
    return shapes.StatusShape(
        status=studio.status,
        message=studio.status_message,
        last_update=studio.status_since,
        stop_reason=studio.stop_reason,
    )


def label_shape(label: Label) -> shapes.LabelShape:
    return shapes.LabelShape(
        id=label.id, name=label.name, value=label.value, resource=label.value is not None
    )


def compute_env(env: ComputeEnv) -> shapes.ComputeEnvShape:
    return shapes.ComputeEnvShape(id=env.id, name=env.name, platform=env.engine, region=env.region)


def _unknown_env(env_id: ComputeEnvId) -> shapes.ComputeEnvShape:
    return shapes.ComputeEnvShape(id=env_id, name=env_id, platform="unknown", region="")


def _user(user_id: UserId, names: Mapping[UserId, str]) -> shapes.UserShape:
    return shapes.UserShape(id=user_id, user_name=names.get(user_id, f"user {user_id}"))


def _connection(connection: Connection, names: Mapping[UserId, str]) -> shapes.ConnectionShape:
    user_id = UserId(connection.user_id)
    return shapes.ConnectionShape(
        id=user_id,
        user_name=names.get(user_id, f"user {user_id}"),
        since=connection.since,
        last_active=connection.last_active,
    )


def _health(health: HealthResult | None) -> shapes.HealthShape | None:
    if health is None:
        return None
    return shapes.HealthShape(ok=health.ok, at=health.at, message=health.message)


def _resources(report: StatusReport | None) -> shapes.ResourceShape | None:
    use = report.tool.resources if report else None
    if use is None:
        return None
    return shapes.ResourceShape(
        cpu_percent=use.cpu_percent,
        memory_bytes=use.memory_bytes,
        processes=use.processes,
        measured_at=use.measured_at,
    )


def _volume(report: StatusReport | None) -> shapes.VolumeShape | None:
    if report is None or report.volume is None:
        return None
    volume = report.volume
    return shapes.VolumeShape(
        size_bytes=volume.size_bytes,
        free_bytes=volume.free_bytes,
        limit_bytes=volume.limit_bytes,
        full=volume.full,
        message=volume.message,
    )


def _tool(report: StatusReport | None) -> shapes.ToolShape | None:
    if report is None:
        return None
    tool = report.tool
    return shapes.ToolShape(
        phase=tool.phase,
        restarts=tool.restarts,
        last_exit=tool.last_exit,
        last_lines=tool.last_lines,
    )


def _activity(report: StatusReport | None) -> shapes.ActivityShape | None:
    if report is None or report.activity is None:
        return None
    return shapes.ActivityShape(
        last_active_at=report.activity.last_active_at,
        reason=report.activity.reason,
        open_websockets=report.activity.open_websockets,
    )
