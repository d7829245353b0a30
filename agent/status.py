"""The status report: everything the parts know of themselves, assembled. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from agent.stopping import Failed, Requested, Superseded, final_phase
from common.messages import RunPhase, StatusReport, ToolPhase, ToolStatus

if TYPE_CHECKING:
    from datetime import datetime

    from agent.parts import GroundStatus
    from agent.stopping import Cause
    from common.ids import RunNumber, SessionId
    from common.messages import ActivityStatus, StopStepStatus, TunnelStatus

_TITLES = {
    "LIFESPAN_EXPIRED": "its lifespan has ended",
    "IDLE": "nobody used it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known at one instant."""

    session_id: SessionId
    run_number: RunNumber
    now: datetime
    tool: ToolStatus
    progress: str
    """How far the session or its tool is, for people."""
    activity: ActivityStatus
    tunnel: TunnelStatus
    stop_steps: tuple[StopStepStatus, ...]
    ground: GroundStatus
    cause: Cause | None = None
    """Why the run ends, if it does."""
    over: bool = False
    """The stop sequence is through."""


def phase(facts: Facts) -> RunPhase:
    """Say where the run stands. A tool that is started again is `starting` again."""
    if facts.cause is not None:
        return final_phase(facts.cause) if facts.over else RunPhase.STOPPING
    return RunPhase.RUNNING if facts.tool.phase is ToolPhase.READY else RunPhase.STARTING


def refusal(
    session_id: SessionId, run_number: RunNumber, reason: str, now: datetime
) -> StatusReport:
    """Return the only report of a run that could not even begin."""
    return StatusReport(
        session_id=session_id,
        run_number=run_number,
        sequence=1,
        sent_at=now,
        phase=RunPhase.FAILED,
        message=reason,
        tool=ToolStatus(phase=ToolPhase.WAITING),
    )


def message(facts: Facts) -> str:
    """Say it in a sentence; empty when there is nothing to say."""
    match facts.cause:
        case None:
            return "" if facts.tool.phase is ToolPhase.READY else facts.progress
        case Requested(reason):
            return _TITLES.get(reason, reason)
        case Failed(reason) | Superseded(reason):
            return reason
        case _:
            assert_never(facts.cause)


def assemble(facts: Facts, sequence: int) -> StatusReport:
    """Return the report that says all of `facts`."""
    return StatusReport(
        session_id=facts.session_id,
        run_number=facts.run_number,
        sequence=sequence,
        sent_at=facts.now,
        phase=phase(facts),
        message=message(facts),
        tool=facts.tool,
        warnings=facts.ground.warnings,
        root=facts.ground.root,
        volume=facts.ground.volume,
        checkpoint=facts.ground.checkpoint,
        earlier_checkpoint=facts.ground.earlier_checkpoint,
        activity=facts.activity,
        tunnel=facts.tunnel,
        stop_steps=facts.stop_steps if facts.cause is not None else (),
    )
