"""What is known about the session at one instant: what every page is made from. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from common.messages import RunPhase

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from agent.checkpointing.captures import Commit
    from agent.desired import Obeyed
    from common.messages import StatusReport
    from common.session_spec import VolumeLimits

ENDING = {RunPhase.STOPPING, RunPhase.STOPPED, RunPhase.FAILED, RunPhase.SUPERSEDED}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Of this session only, whoever asks."""

    studio_name: str
    tool_name: str
    limits: VolumeLimits
    since: datetime
    """When this run began."""
    now: datetime
    report: StatusReport
    obeyed: Obeyed
    """What the control plane wants, as last heard."""
    commits: tuple[Commit, ...] = ()
    """How the session's files were saved since it began, oldest first: the last ones."""
    zone: tzinfo = UTC
    """What times are told in: that of whoever asks, where they say it."""
