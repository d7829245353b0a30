"""The one way a Studio changes: written, with its audit event, and told to the bus once durable."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from control_plane.events import Change, ChangeKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from common.clock import Clock
    from common.ids import SessionId, UserId
    from common.messages import CheckpointStatus, StatusReport, VolumeStatus
    from control_plane.events import EventBus
    from control_plane.lifecycle import Outcome
    from control_plane.model import Studio
    from control_plane.store import Store, Transaction

_VOLUME_NEWS_BYTES = 1024**3 // 10
"""Less than this is not seen where sizes are shown."""


class Changes:
    """Opens transactions whose changes are told to everybody after the commit."""

    def __init__(self, store: Store, clock: Clock, bus: EventBus) -> None:
        self._store = store
        self._clock = clock
        self._bus = bus

    @asynccontextmanager
    async def write(self) -> AsyncIterator[ChangeSet]:
        async with self._store.write() as transaction:
            changes = ChangeSet(transaction, self._clock)
            yield changes
        for change in changes.told:
            self._bus.publish(change)

    async def apply(
        self, session_id: SessionId, decide: Callable[[Studio], Outcome]
    ) -> Outcome | None:
        """Let `decide` answer for the Studio as it is now, and write that. None: no such Studio."""
        async with self.write() as changes:
            before = await changes.transaction.studio(session_id, lock=True)
            if before is None:
                return None
            outcome = decide(before)
            await changes.save(before, outcome.studio)
            return outcome


class ChangeSet:
    """The changes of one transaction."""

    def __init__(self, transaction: Transaction, clock: Clock) -> None:
        self.transaction = transaction
        self.told: list[Change] = []
        self._clock = clock

    async def insert(self, studio: Studio, *, actor_id: UserId) -> None:
        await self.transaction.insert(studio)
        detail: dict[str, object] = {"name": studio.name}
        if studio.parent_checkpoint is not None:
            detail["checkpoint"] = studio.parent_checkpoint.checkpoint_id
        await self._audit("studio_session_created", studio.session_id, actor_id, detail)
        self.told.append(Change(ChangeKind.CREATED, studio.session_id))

    async def save(
        self,
        before: Studio,
        after: Studio,
        *,
        action: str = "",
        actor_id: UserId | None = None,
        by_session: bool = False,
    ) -> None:
        """Write the difference. `action` names what a person did; else the new status does.

        `by_session`: nobody in particular did it, but a program in the session.
        """
        if after == before:
            return
        await self.transaction.save(after, before=before)
        if action or after.status is not before.status:
            detail: dict[str, object] = {"run": after.run_number, "status": after.status.value}
            if after.status is not before.status:
                detail |= {"was": before.status.value, "message": after.status_message}
            if by_session:
                detail["by"] = "session"
            named = action or f"studio_session_{after.status.value}"
            await self._audit(named, after.session_id, actor_id, detail)
        self._tell(before, after)

    def tell(self, session_id: SessionId) -> None:
        """Something that is shown with the Studio has changed."""
        self._add(Change(ChangeKind.CHANGED, session_id))

    async def audit(
        self, action: str, session_id: SessionId, actor_id: UserId, detail: dict[str, object]
    ) -> None:
        """Write down what a person did, now."""
        await self._audit(action, session_id, actor_id, detail)

    def tell_access(self) -> None:
        """Somebody may have won or lost access to any Studio."""
        self.told.append(Change(ChangeKind.ACCESS, None))

    def _tell(self, before: Studio, after: Studio) -> None:
        if after.deleted and not before.deleted:
            kind = ChangeKind.DELETED
        elif after.access_version != before.access_version:
            kind = ChangeKind.ACCESS
        elif _shown(after) != _shown(before):
            kind = ChangeKind.CHANGED
        else:
            return
        self._add(Change(kind, after.session_id))

    def _add(self, change: Change) -> None:
        if change not in self.told:
            self.told.append(change)

    async def _audit(
        self,
        action: str,
        session_id: SessionId,
        actor_id: UserId | None,
        detail: dict[str, object],
    ) -> None:
        await self.transaction.audit(
            action,
            at=self._clock.now(),
            actor_id=actor_id,
            session_id=session_id,
            detail=detail,
        )


def _shown(studio: Studio) -> tuple[object, ...]:
    """What is worth telling: not that another report came in that says the same."""
    bare = msgspec.structs.replace(
        studio, report=None, health=None, last_updated=studio.status_since
    )
    health = studio.health
    return bare, None if health is None else (health.ok, health.message), _said(studio.report)


def _said(report: StatusReport | None) -> tuple[object, ...]:
    if report is None:
        return ()
    tunnelled = report.tunnel.connected if report.tunnel is not None else None
    tool = report.tool
    return (
        *(report.phase, report.message, report.warnings, report.stop_steps),
        *(tool.phase, tool.restarts, tunnelled, _said_of_volume(report.volume)),
        _said_of_checkpoint(report.checkpoint),
    )


def _said_of_checkpoint(status: CheckpointStatus | None) -> tuple[object, ...]:
    """Whether it is being saved; the rest is told once it is written, see `run_checkpoints`."""
    return () if status is None else (status.in_progress, status.answered_request_at)


def _said_of_volume(volume: VolumeStatus | None) -> tuple[object, ...]:
    if volume is None:
        return ()
    free = volume.free_bytes // _VOLUME_NEWS_BYTES
    return volume.size_bytes, free, volume.limit_bytes, volume.full, volume.message
