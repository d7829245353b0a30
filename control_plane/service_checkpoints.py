"""What people can ask about checkpoints: see them, rename them, delete them, save now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from control_plane.access import Action
from control_plane.checkpoint_life import is_being_written, may_be_saved
from control_plane.checkpoint_names import problems_of_checkpoint_name, spelled
from control_plane.checkpoint_search import parse_search
from control_plane.core import advance, find_studio
from control_plane.effects import Facts
from control_plane.errors import ConflictError, InvalidError, NotFoundError
from control_plane.lifecycle import Event
from control_plane.model_checkpoints import CHECKPOINT_NUMBER_MAX, CheckpointNumber, CheckpointState
from control_plane.service_workspace import require

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common.ids import SessionId
    from control_plane.core import Core
    from control_plane.model import ComputeEnvId, Person, Studio
    from control_plane.model_checkpoints import Checkpoint
    from control_plane.store import Transaction

CHECKPOINTS_MAX = 50
"""In one page of the list: the reference platform's."""


class CheckpointCommands:
    """The checkpoints' side of the service."""

    _core: Core

    async def checkpoints(
        self,
        person: Person,
        session_id: SessionId,
        *,
        search: str = "",
        max: int = CHECKPOINTS_MAX,  # noqa: A002  the public API's word
        offset: int = 0,
    ) -> tuple[Studio, list[Checkpoint], int]:
        """A Studio's checkpoints that are looked for, newest first, and how many there are."""
        wanted = parse_search(search)
        if not 0 <= max <= CHECKPOINTS_MAX or offset < 0:
            raise InvalidError(
                f"Ask for 0 to {CHECKPOINTS_MAX} checkpoints, from an offset of 0 or more."
            )
        async with self._core.store.read() as transaction:
            studio = await find_studio(transaction, session_id)
            require(person, Action.READ, studio)
            found, total = await transaction.checkpoints.search(
                session_id, wanted, limit=max, offset=offset
            )
        return studio, found, total

    async def checkpoint(
        self, person: Person, session_id: SessionId, number: CheckpointNumber
    ) -> tuple[Studio, Checkpoint]:
        async with self._core.store.read() as transaction:
            studio = await find_studio(transaction, session_id)
            require(person, Action.READ, studio)
            return studio, await _find(transaction, session_id, number)

    async def checkpoints_shown(self, studios: Iterable[Studio]) -> dict[SessionId, Checkpoint]:
        """For each Studio the one of its session under way, or else what the next begins with."""
        async with self._core.store.read() as transaction:
            return await transaction.checkpoints.shown_with(one.session_id for one in studios)

    async def rename_checkpoint(
        self, person: Person, session_id: SessionId, number: CheckpointNumber, name: str
    ) -> tuple[Studio, Checkpoint]:
        """Call it something else, at any time; spaces become underscores."""
        name = spelled(name)
        async with self._core.changes.write() as changes:
            studio = await find_studio(changes.transaction, session_id, lock=True)
            require(person, Action.EDIT, studio)
            if problems := problems_of_checkpoint_name(name):
                raise InvalidError(" ".join(problems))
            before = await _find(changes.transaction, session_id, number)
            if before.name == name:
                return studio, before
            table = changes.transaction.checkpoints
            if name in await table.names(session_id):
                raise ConflictError(
                    f"The Studio has a checkpoint “{name}” already: choose another name."
                )
            after = msgspec.structs.replace(before, name=name)
            await table.save(after, before=before)
            detail: dict[str, object] = {"checkpoint": number, "was": before.name, "name": name}
            await changes.audit("studio_checkpoint_renamed", session_id, person.id, detail)
            changes.tell(session_id)
        return studio, after

    async def delete_checkpoint(
        self, person: Person, session_id: SessionId, number: CheckpointNumber
    ) -> None:
        """Let it go, unless somebody needs it. What it keeps in storage goes later."""
        async with self._core.changes.write() as changes:
            studio = await find_studio(changes.transaction, session_id, lock=True)
            require(person, Action.DELETE, studio)
            before = await _find(changes.transaction, session_id, number, lock=True)
            await _require_unneeded(changes.transaction, studio, before)
            after = msgspec.structs.replace(before, deleted_at=self._core.clock.now())
            await changes.transaction.checkpoints.save(after, before=before)
            detail: dict[str, object] = {"checkpoint": number, "name": before.name}
            await changes.audit("studio_checkpoint_deleted", session_id, person.id, detail)
            changes.tell(session_id)

    async def save_now(self, person: Person, session_id: SessionId) -> tuple[Studio, Checkpoint]:
        """Ask the session to save its files as they are now; return what it saves them under."""
        async with self._core.changes.write() as changes:
            before = await find_studio(changes.transaction, session_id, lock=True)
            require(person, Action.START, before)
            after = advance(before, Event.SAVE, Facts(now=self._core.clock.now()))
            table = changes.transaction.checkpoints
            checkpoint = await table.of_run(session_id, after.run_number)
            if checkpoint is None:
                raise ConflictError(
                    "This session began before there were checkpoints: stop it and start it again."
                )
            named = "studio_checkpoint_requested"
            await changes.save(before, after, action=named, actor_id=person.id)
        return after, checkpoint


async def initial_checkpoint(
    transaction: Transaction, person: Person, number: int | None
) -> tuple[Studio, Checkpoint] | tuple[None, None]:
    """What a new Studio is to begin with, and its Studio, if this person may take it.

    Its row is locked, so that nobody deletes it before the new Studio is written down. None, if
    the new Studio is to begin with the bare image.
    """
    if number is None:
        return None, None
    found: Checkpoint | None = None
    if 0 < number <= CHECKPOINT_NUMBER_MAX:
        found = await transaction.checkpoints.find(CheckpointNumber(number), lock=True)
    studio = await transaction.studio(found.session_id) if found is not None else None
    if found is None or studio is None or studio.deleted:
        raise NotFoundError(f"There is no checkpoint {number}: look at the Studio's list of them.")
    require(person, Action.READ, studio)
    require(person, Action.CONNECT, studio)  # whoever gets its files sees what is in the session
    if is_being_written(found, studio):
        raise ConflictError(
            f"The session of “{studio.name}” still saves to “{found.name}”: "
            "stop that Studio first, or take an earlier checkpoint."
        )
    if found.state is CheckpointState.INVALID:
        raise InvalidError(f"“{found.name}” is damaged: take another checkpoint.")
    if not found.holds_something:
        raise InvalidError(f"Nothing was saved to “{found.name}”: take another checkpoint.")
    return studio, found


async def require_reachable(
    transaction: Transaction, checkpoint: Checkpoint, compute_env_id: ComputeEnvId
) -> None:
    """Raise InvalidError unless sessions of the compute environment find the checkpoint."""
    if checkpoint.compute_env_id == compute_env_id:
        return
    env = await transaction.compute_env(compute_env_id)
    if env.work_dir != checkpoint.work_dir:
        raise InvalidError(
            f"“{checkpoint.name}” is kept in {checkpoint.work_dir}, but sessions of {env.name} "
            f"keep theirs in {env.work_dir}: choose the compute environment "
            f"“{checkpoint.compute_env_id}”."
        )


async def _find(
    transaction: Transaction,
    session_id: SessionId,
    number: CheckpointNumber,
    *,
    lock: bool = False,
) -> Checkpoint:
    found = await transaction.checkpoints.find(number, session_id=session_id, lock=lock)
    if found is None:
        raise NotFoundError(
            f"The Studio has no checkpoint {number}: look at the list of its checkpoints."
        )
    return found


async def _require_unneeded(
    transaction: Transaction, studio: Studio, checkpoint: Checkpoint
) -> None:
    if is_being_written(checkpoint, studio):
        raise ConflictError("The session still saves to this checkpoint: stop the Studio first.")
    table = transaction.checkpoints
    newest = await table.newest_saved(studio.session_id)
    if newest is not None and newest.id == checkpoint.id:
        # the next start would silently go back to an older state, or to none
        raise ConflictError(
            "The Studio’s next session begins with this checkpoint: once that has saved a newer "
            "one this can go, or delete the Studio if you need none of it."
        )
    if may_be_saved(checkpoint, newest):
        raise ConflictError(
            "The Studio’s next session may find files that belong to this checkpoint: it goes by "
            "itself, or can be deleted, once a later one holds something."
        )
    if names := await table.sessions_on(checkpoint.id):
        raise ConflictError(
            f"A session of “{names[0]}” began with this checkpoint: stop that Studio first."
        )
    if names := await table.studios_waiting_for(checkpoint.id):
        raise ConflictError(
            f"“{names[0]}” was added from this checkpoint and has saved nothing of its own yet: "
            "start that Studio, or delete it, first."
        )
