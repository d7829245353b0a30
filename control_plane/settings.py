"""The numbers and addresses that the core needs, handed in by whoever composes the process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from common.session_spec import SessionSettings, VolumeLimits
from control_plane.work_access import WorkAccess

if TYPE_CHECKING:
    from pathlib import Path

    from common.ids import SessionId


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Times of the lifecycle, in seconds."""

    silence_seconds: float = 90.0
    """Nine reports missed in a row: not a hiccup."""
    missed_seconds: float = 25.0
    """Two reports missed in a row: an engine that sees its job gone says so long before silence
    is proof of anything."""
    observe_seconds: float = 10.0
    """Between two questions to an engine about one job."""
    force_after_seconds: float = 600.0
    """A stop repeated this long after the first one forces."""
    stop_grace_seconds: float = 150.0
    """For a job asked to end, before it is by force. The agent gives its tool 30 s, takes 20 s more
    to see every process gone, and then writes the volume to its image: 60 s on a busy disk."""
    force_grace_seconds: float = 0.0
    errored_grace_seconds: float = 60.0
    """A run that reported an error may still recover, or end by itself, for so long."""
    submit_backoff_seconds: float = 1.0
    submit_backoff_seconds_max: float = 60.0
    submit_attempts_max: int = 12
    """With the back-off above about seven minutes of an engine that doesn't answer."""
    calendar_hold_seconds: float = 300.0
    """After a jump of the calendar no lifespan ends for so long; see `calendar`."""
    health_poll_seconds: float = 30.0
    collect_interval_seconds: float = 3600.0
    """Between two collections of one work directory. What they free has to be found by two, hours
    apart, and waits a day: more of them would free nothing sooner."""
    collect_look_seconds: float = 30.0
    """Between two looks for what people have deleted."""
    collect_retry_seconds: float = 60.0
    """After the first failure, or refusal to delete; it doubles."""
    collect_retry_seconds_max: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Where things are, as agents and browsers see them."""

    connect_domain: str
    """With port where not the scheme's own: `studio.localhost:9191`."""
    control_plane_url: str
    edge_urls: tuple[str, ...]
    sessions_dir: Path
    """The folder of the sessions' `host_state_dir`s on the `local` engine's host."""
    volume: VolumeLimits = field(default_factory=VolumeLimits)
    """Sizes of sessions' volumes; the limit is each compute environment's own."""
    session: SessionSettings = field(default_factory=SessionSettings)
    """What agents are told of their sessions."""
    access: WorkAccess = field(default_factory=WorkAccess)
    """How buckets of work directories are reached."""
    limits: Limits = Limits()

    def session_host(self, session_id: SessionId) -> str:
        return f"a{session_id}.{self.connect_domain}"
