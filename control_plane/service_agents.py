"""What agents can ask: tell their state, learn what is wanted of them, live longer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from common.tasks import TaskBag
from control_plane.clipping import clip_report
from control_plane.core import advance, find_studio
from control_plane.desired import agent_token, desired_state, is_renewal_due
from control_plane.effects import Facts
from control_plane.errors import ConflictError, InvalidError
from control_plane.lifecycle import Event, hear
from control_plane.run_checkpoints import hear_of_checkpoints

if TYPE_CHECKING:
    from datetime import datetime

    from common.ids import RunNumber, SessionId
    from common.messages import DesiredState, StatusReport
    from common.secret import Secret
    from control_plane.core import Core
    from control_plane.events import Subscription
    from control_plane.model import Studio

WAIT_SECONDS_MAX = 60.0
"""Longer than this and middleboxes cut the silent connection; the agent asks again."""
POLL_SECONDS = 1.0
"""Where other processes write to the database, their changes don't come over our bus."""


class AgentCommands:
    """The agents' side of the service."""

    _core: Core

    async def record_report(
        self,
        session_id: SessionId,
        run: RunNumber,
        report: StatusReport,
        *,
        token_issued_at: datetime | None = None,
    ) -> DesiredState:
        """Take in an agent's whole state and return what is wanted of it.

        A report that says too much is cut, see `clipping`. Repeating one changes nothing. `run` is
        the one of the agent's token, which must be the report's, too. `token_issued_at` lets
        the reply carry a new token once half its life is over; unknown, the run's start stands in.
        """
        if (report.session_id, report.run_number) != (session_id, run):
            raise InvalidError("The report is of another session or run than the token.")
        async with self._core.changes.write() as changes:
            before = await find_studio(changes.transaction, session_id, lock=True)
            now, report = self._core.clock.now(), clip_report(report)
            after = hear(before, report, now).studio
            await changes.save(before, after)
            if _speaks_of_checkpoints(before, report):
                await hear_of_checkpoints(changes, after, report, now)
        return self._desired(after, run, token_issued_at)

    async def wait_desired(
        self,
        session_id: SessionId,
        run: RunNumber,
        *,
        after: int,
        wait_seconds: float,
        token_issued_at: datetime | None = None,
    ) -> DesiredState | None:
        """The desired state as soon as its version is not `after`; None after `wait_seconds`."""
        clock = self._core.clock
        end = clock.monotonic() + min(wait_seconds, WAIT_SECONDS_MAX)
        async with self._core.bus.subscribe() as changes:
            while True:
                async with self._core.store.read() as transaction:
                    studio = await find_studio(transaction, session_id)
                if studio.desired_version != after:
                    return self._desired(studio, run, token_issued_at)
                remaining = end - clock.monotonic()
                if remaining <= 0:
                    return None
                poll = POLL_SECONDS if self._core.store.is_shared else remaining
                await self._change_or_pause(changes, session_id, min(remaining, poll))

    async def extend_own_session(
        self, session_id: SessionId, run: RunNumber, *, token_issued_at: datetime | None = None
    ) -> DesiredState:
        """Let the session live for one more lifespan, counted from now, as its programs ask.

        The rules are those of people's `extend`. Only the newest run may: one that was superseded
        has no say in how long its successor lives.
        """
        async with self._core.changes.write() as changes:
            before = await find_studio(changes.transaction, session_id, lock=True)
            if run != before.run_number:
                raise ConflictError("This is not the Studio’s newest session: extend that one.")
            after = advance(before, Event.EXTEND, Facts(now=self._core.clock.now()))
            await changes.save(
                before, after, action="studio_session_lifespan_extended", by_session=True
            )
        return self._desired(after, run, token_issued_at)

    async def _change_or_pause(
        self, changes: Subscription, session_id: SessionId, seconds: float
    ) -> None:
        async def changed() -> None:
            async for change in changes:
                if getattr(change, "session_id", session_id) == session_id:
                    return

        tasks = TaskBag("wait-desired")
        try:
            pause = tasks.spawn(self._core.clock.sleep(seconds), name="pause")
            told = tasks.spawn(changed(), name="changed")
            await asyncio.wait({pause, told}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await tasks.close()

    def _desired(self, studio: Studio, run: RunNumber, issued: datetime | None) -> DesiredState:
        signer = self._core.signer
        issued = issued or studio.last_started or studio.date_created
        token: Secret | None = None
        if is_renewal_due(issued, self._core.clock.now()):
            token = agent_token(signer, studio.session_id, run)
        return desired_state(
            studio,
            run,
            token=token,
            token_keys=signer.public_keys(),
            settings=self._core.settings.session,
        )


def _speaks_of_checkpoints(before: Studio, report: StatusReport) -> bool:
    """Whether it says anything of them that the newest report doesn't; most reports don't."""
    known = before.report
    if known is None or known.run_number != report.run_number:
        return report.checkpoint is not None or report.earlier_checkpoint is not None
    if report.sequence <= known.sequence:
        return False
    said = (report.checkpoint, report.earlier_checkpoint)
    return said != (known.checkpoint, known.earlier_checkpoint)
