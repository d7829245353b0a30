"""What people and agents can ask of the control plane.

**Start here.** Each command is one transaction: read the Studio, ask `access`, `validation` and
`lifecycle`, write what they say, tell the bus. Nothing here talks to an engine; that is the
reconciler's, which finds what is left to do in the database. So a command is done once it is
written down, and repeating it changes nothing.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import sqlalchemy as sa

from common.ids import SessionId
from control_plane.access import Action, Refused, may
from control_plane.core import Core, advance, assemble, find_studio
from control_plane.database_troubles import disk_full_sentence
from control_plane.edits import edited, is_free
from control_plane.effects import Facts
from control_plane.errors import ConflictError, InvalidError, RefusedError
from control_plane.lifecycle import Event, stop_event
from control_plane.model import DEFAULT_WORKSPACE, ParentCheckpoint, PersonName, Status, Studio
from control_plane.run_checkpoints import open_checkpoint
from control_plane.service_agents import AgentCommands
from control_plane.service_checkpoints import (
    CheckpointCommands,
    initial_checkpoint,
    require_reachable,
)
from control_plane.service_edges import EdgeCommands
from control_plane.service_logs import LogCommands
from control_plane.service_unrecorded import UnrecordedCommands
from control_plane.service_workspace import WorkspaceCommands, require, settings_of
from control_plane.validation import (
    CreateStudio,
    StartStudio,
    UpdateStudio,
    World,
    normal,
    parse_template,
    problems_of_create,
    problems_of_name,
    problems_of_start,
    problems_of_update,
    with_template,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy.ext.asyncio import AsyncEngine

    from common.clock import Clock
    from common.templates import TemplateFacts
    from common.tokens import TokenSigner
    from control_plane.changes import ChangeSet
    from control_plane.engines.engine import Engine
    from control_plane.events import EventBus
    from control_plane.model import Label, LabelId, Person
    from control_plane.settings import ServiceSettings
    from control_plane.store import Transaction

LIST_MAX = 100
Studios: TypeAlias = list[Studio]


class StudioService(
    AgentCommands,
    CheckpointCommands,
    EdgeCommands,
    LogCommands,
    UnrecordedCommands,
    WorkspaceCommands,
):
    """The commands. Raises errors of `errors`, each with a sentence for people."""

    def __init__(
        self,
        database: AsyncEngine,
        engines: Mapping[str, Engine],
        templates: Mapping[str, TemplateFacts],
        signer: TokenSigner,
        clock: Clock,
        bus: EventBus,
        settings: ServiceSettings,
    ) -> None:
        self._core = assemble(database, engines, templates, signer, clock, bus, settings)

    @property
    def core(self) -> Core:
        """For the reconciler and the health poll."""
        return self._core

    # ── Looking ──────────────────────────────────────────────────────────────

    async def list(
        self,
        person: Person,
        *,
        search: str = "",
        max: int = LIST_MAX,  # noqa: A002  the public API's word
        offset: int = 0,
    ) -> tuple[Studios, int]:
        """Studios whose name, id or description contains `search`, newest first, and how many."""
        require(person, Action.READ)
        if not 0 <= max <= LIST_MAX or offset < 0:
            raise InvalidError(f"Ask for 0 to {LIST_MAX} Studios, from an offset of 0 or more.")
        async with self._core.store.read() as transaction:
            return await transaction.search(
                DEFAULT_WORKSPACE, text=search, limit=max, offset=offset
            )

    async def get(self, person: Person, session_id: SessionId) -> Studio:
        async with self._core.store.read() as transaction:
            studio = await find_studio(transaction, session_id)
        require(person, Action.READ, studio)
        return studio

    async def validate_name(self, person: Person, name: str) -> None:
        """InvalidError if it is no name, ConflictError if it is taken."""
        require(person, Action.READ)
        name = normal(name)
        _raise(problems_of_name(name))
        async with self._core.store.read() as transaction:
            await _require_free(transaction, name)

    # ── Adding, editing, deleting ────────────────────────────────────────────

    async def create(self, person: Person, request: CreateStudio, *, auto_start: bool) -> Studio:
        """Add a Studio; with `auto_start` start it, too, or add nothing."""
        require(person, Action.CREATE)
        request = msgspec.structs.replace(request, name=normal(request.name))
        async with self._core.changes.write() as changes:
            transaction = changes.transaction
            world = await self._world(transaction)
            wanted = request.initial_checkpoint_id
            source, initial = await initial_checkpoint(transaction, person, wanted)
            request = with_template(request, source.template if source is not None else None)
            _raise(problems_of_create(request, world))
            if initial is not None:
                await require_reachable(transaction, initial, request.compute_env_id)
            await _require_free(transaction, request.name)
            template = parse_template(request.data_studio_tool_url, self._core.templates)
            assert template is not None, "validated"
            now = self._core.clock.now()
            private = request.is_private
            studio = Studio(
                session_id=await _new_session_id(transaction),
                workspace_id=DEFAULT_WORKSPACE,
                name=request.name,
                description=request.description,
                template=template,
                owner=PersonName(id=person.id, name=person.name),
                compute_env_id=request.compute_env_id,
                configuration=request.configuration,
                is_private=world.settings.private_studio_by_default if private is None else private,
                allowed_user_ids=frozenset(request.allowed_user_ids),
                labels=await _labels(transaction, request.label_ids),
                parent_checkpoint=ParentCheckpoint(checkpoint_id=initial.id) if initial else None,
                status=Status.STOPPED,
                status_since=now,
                date_created=now,
                last_updated=now,
            )
            await changes.insert(studio, actor_id=person.id)
            if auto_start:
                require(person, Action.START, studio)
                await self._start(changes, studio.session_id, person, None)
            return await find_studio(transaction, studio.session_id)

    async def update(self, person: Person, session_id: SessionId, request: UpdateStudio) -> Studio:
        """Change what the request names. Access and labels at any time, the rest when stopped."""
        if request.name is not None:
            request = msgspec.structs.replace(request, name=normal(request.name))
        async with self._core.changes.write() as changes:
            transaction = changes.transaction
            studio = await find_studio(transaction, session_id, lock=True)
            only_labels = request == UpdateStudio(label_ids=request.label_ids)
            require(person, Action.LABEL if only_labels else Action.EDIT, studio)
            _raise(problems_of_update(request, await self._world(transaction)))
            after = edited(studio, request)
            if request.label_ids is not None:
                labels = await _labels(transaction, request.label_ids)
                after = msgspec.structs.replace(after, labels=labels)
            if after.name != studio.name:
                await _require_free(transaction, after.name, besides=session_id)
            if not is_free(after, studio):
                advance(studio, Event.EDIT, Facts(now=self._core.clock.now()))
            if after != studio:
                after = msgspec.structs.replace(after, last_updated=self._core.clock.now())
            await changes.save(studio, after, action="studio_session_edited", actor_id=person.id)
            return await find_studio(transaction, session_id)

    async def delete(self, person: Person, session_id: SessionId) -> None:
        """Delete a Studio that is stopped. What the engine keeps of it goes soon after."""
        await self._command(person, Action.DELETE, session_id, Event.DELETE, "deleted")

    # ── Starting, stopping, extending ────────────────────────────────────────

    async def start(
        self, person: Person, session_id: SessionId, options: StartStudio | None = None
    ) -> Studio:
        """Begin a run; nothing if one is under way. `options` hold for that session only."""
        async with self._core.changes.write() as changes:
            studio = await find_studio(changes.transaction, session_id, lock=True)
            require(person, Action.START, studio)
            if options is not None and options.configuration.environment:
                _require_inside(person, studio)
            return await self._start(changes, session_id, person, options)

    async def stop(self, person: Person, session_id: SessionId) -> Studio:
        """End the run; nothing if it is ending. Repeated after 10 minutes it forces.

        Where the disk is too full to write that down the engine is asked all the same, and
        StorageFullError says so.
        """
        try:
            return await self._command(
                person, Action.STOP, session_id, Event.STOP, "stop_requested"
            )
        except sa.exc.DBAPIError as error:
            full = disk_full_sentence(error)
            if full is None:
                raise
        # The transaction that asked for it may not even have begun.
        require(person, Action.STOP, await self.get(person, session_id))
        raise await self.end_on_full_disk(session_id, full)

    async def extend(self, person: Person, session_id: SessionId) -> Studio:
        """Let the session live for one more lifespan, counted from now."""
        return await self._command(
            person, Action.EXTEND, session_id, Event.EXTEND, "lifespan_extended"
        )

    async def _start(
        self,
        changes: ChangeSet,
        session_id: SessionId,
        person: Person,
        options: StartStudio | None,
    ) -> Studio:
        transaction = changes.transaction
        studio = await find_studio(transaction, session_id, lock=True)
        world = await self._world(transaction)
        if options is not None:
            _raise(problems_of_start(options, world))
        facts = Facts(
            now=self._core.clock.now(),
            session_configuration=options.configuration if options is not None else None,
        )
        after = advance(studio, Event.START, facts)
        limit = world.settings.running_sessions_max
        if limit is not None and after != studio:
            await _require_room(transaction, limit)
        await changes.save(
            studio, after, action="studio_session_start_requested", actor_id=person.id
        )
        if after.run_number != studio.run_number:
            await open_checkpoint(
                changes,
                after,
                author=PersonName(id=person.id, name=person.name),
                heard=studio.report is not None,
                now=facts.now,
            )
        return after

    async def _command(
        self, person: Person, action: Action, session_id: SessionId, event: Event, done: str
    ) -> Studio:
        now = self._core.clock.now()
        async with self._core.changes.write() as changes:
            studio = await find_studio(changes.transaction, session_id, lock=True)
            require(person, action, studio)
            if event is Event.STOP:
                limits = self._core.settings.limits
                event = stop_event(studio, now, force_after_seconds=limits.force_after_seconds)
            after = advance(studio, event, Facts(now=now))
            named = f"studio_session_{done}"
            await changes.save(studio, after, action=named, actor_id=person.id)
            if after.deleted:
                await changes.transaction.checkpoints.mark_studio_deleted(session_id, now)
            return after

    async def _world(self, transaction: Transaction) -> World:
        return World(
            templates=self._core.templates,
            compute_env_ids=frozenset(
                env.id for env in await transaction.compute_envs(DEFAULT_WORKSPACE)
            ),
            user_ids=frozenset(person.id for person in await transaction.people.members()),
            label_ids=frozenset(label.id for label in await transaction.labels(DEFAULT_WORKSPACE)),
            settings=await settings_of(transaction),
        )


def _require_inside(person: Person, studio: Studio) -> None:
    """Variables decide what runs in a session: choosing them is as good as being connected."""
    decision = may(person, Action.CONNECT, studio)
    if isinstance(decision, Refused):
        raise RefusedError(
            f"You may start it, but not with environment variables of yours. {decision.reason}"
        )


def _raise(problems: Iterable[str]) -> None:
    if sentences := " ".join(problems):
        raise InvalidError(sentences)


async def _require_free(
    transaction: Transaction, name: str, *, besides: SessionId | None = None
) -> None:
    if await transaction.is_name_taken(DEFAULT_WORKSPACE, name, besides=besides):
        raise ConflictError(f"There is a Studio “{name}” already: choose another name.")


async def _require_room(transaction: Transaction, limit: int) -> None:
    await transaction.lock_workspace(DEFAULT_WORKSPACE)
    if await transaction.count_active(DEFAULT_WORKSPACE) >= limit:
        raise ConflictError(
            f"The workspace allows {limit} running sessions: stop one of them first."
        )


async def _labels(transaction: Transaction, wanted: Iterable[LabelId]) -> tuple[Label, ...]:
    ids = set(wanted)
    return tuple(lb for lb in await transaction.labels(DEFAULT_WORKSPACE) if lb.id in ids)


async def _new_session_id(transaction: Transaction) -> SessionId:
    while True:
        session_id = SessionId(secrets.token_hex(4))
        if await transaction.studio(session_id) is None:
            return session_id
