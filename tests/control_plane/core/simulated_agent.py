"""One run's agent in a simulation, and the Studio that simulations begin with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from common.ids import RunNumber, SessionId, UserId
from common.messages import RunPhase, RunState, StatusReport, ToolPhase, ToolStatus
from control_plane.model import (
    DEFAULT_COMPUTE_ENV,
    DEFAULT_WORKSPACE,
    PersonName,
    Status,
    Studio,
)

if TYPE_CHECKING:
    from common.messages import DesiredState

SESSION = SessionId("0123abcd")
EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
_TOOL = ToolStatus(phase=ToolPhase.READY)


def studio() -> Studio:
    """A Studio that was never started; its sessions live for an hour."""
    return Studio(
        session_id=SESSION,
        workspace_id=DEFAULT_WORKSPACE,
        name="a Studio",
        template="jupyterlab",
        owner=PersonName(id=UserId(1), name="Ada"),
        compute_env_id=DEFAULT_COMPUTE_ENV,
        status=Status.STOPPED,
        status_since=EPOCH,
        next_lifespan_hours=1,
        date_created=EPOCH,
        last_updated=EPOCH,
    )


@dataclass(slots=True)
class Agent:
    """One run's agent."""

    run: RunNumber
    phase: RunPhase = RunPhase.STARTING
    sequence: int = 0
    version: int = -1
    alive: bool = True
    deaf: bool = False
    """Does not stop when told, nor when asked by a signal."""
    stop_asked_at: float | None = None
    message: str = ""
    session_id: SessionId = SESSION

    def obey(self, desired: DesiredState) -> None:
        if desired.version < self.version:
            return
        self.version = desired.version
        if desired.run_state is not RunState.RUN:
            self.ask_to_stop()

    def ask_to_stop(self) -> None:
        if not self.deaf and self.phase in {RunPhase.STARTING, RunPhase.RUNNING}:
            self.phase = RunPhase.STOPPING

    def live_on(self) -> None:
        """Take the next step of an agent's life."""
        if self.phase is RunPhase.STARTING:
            self.phase = RunPhase.RUNNING
        elif self.phase is RunPhase.STOPPING:
            self.phase = RunPhase.STOPPED
        elif self.phase in {RunPhase.STOPPED, RunPhase.FAILED, RunPhase.SUPERSEDED}:
            self.alive = False

    def report(self) -> StatusReport:
        self.sequence += 1
        return StatusReport(
            session_id=self.session_id,
            run_number=self.run,
            sequence=self.sequence,
            sent_at=EPOCH,
            phase=self.phase,
            message=self.message,
            tool=_TOOL,
        )
