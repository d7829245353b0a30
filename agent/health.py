"""The answer of `/.studio/health`: can a user work here now? Pure.

The control plane asks it through the edge, the way users come, so that "the agent reports, but
nobody can reach it" is seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from common.messages import RunPhase, StatusReport, ToolPhase, TunnelStatus, VolumeStatus

if TYPE_CHECKING:
    from datetime import datetime


class ToolHealth(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The tool, in short."""

    phase: ToolPhase
    restarts: int
    last_exit: str | None


class Health(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The whole answer. What a session doesn't have is null."""

    healthy: bool
    message: str
    """Empty when healthy, else what is missing."""
    session_id: str
    run_number: int
    phase: RunPhase
    tool: ToolHealth
    root: str | None = None
    volume: VolumeStatus | None = None
    checkpoint_age_seconds: float | None = None
    tunnel: TunnelStatus | None = None


def assess(report: StatusReport, now: datetime) -> Health:
    """Judge a report: healthy is a tool that answers and a tunnel to reach it by."""
    problems = []
    if report.tool.phase is not ToolPhase.READY:
        problems.append(f"the tool is {report.tool.phase.value}")
    if report.tunnel is None or not report.tunnel.connected:
        problems.append("the tunnel is not connected")
    if report.volume is not None and report.volume.full:
        problems.append("the volume is full")
    return Health(
        healthy=not problems,
        message=", ".join(problems),
        session_id=report.session_id,
        run_number=report.run_number,
        phase=report.phase,
        tool=ToolHealth(
            phase=report.tool.phase,
            restarts=report.tool.restarts,
            last_exit=report.tool.last_exit,
        ),
        root=_root(report),
        volume=report.volume,
        checkpoint_age_seconds=_age_seconds(report, now),
        tunnel=report.tunnel,
    )


def _age_seconds(report: StatusReport, now: datetime) -> float | None:
    """Return how old what is saved is. However old: one can work all the same."""
    if report.checkpoint is None or report.checkpoint.committed_at is None:
        return None
    return max(0.0, (now - report.checkpoint.committed_at).total_seconds())


def _root(report: StatusReport) -> str | None:
    """Say in a word how the session's root is; None before it is made."""
    if report.root is None:
        return None
    troubled = report.root.memory_kill_count or report.root.process_limit_hits
    return "limits were reached" if troubled else "ready"
