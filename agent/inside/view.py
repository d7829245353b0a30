"""What is known about the session at one instant: what every page is made from. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from agent.desired import Obeyed
    from common.messages import StatusReport
    from common.session_spec import VolumeLimits


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
