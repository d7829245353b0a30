"""An engine in memory, for tests of what stands on engines. Passes the same contract suite.

The world behind it is a `FakeHost`, which outlives the engine object as a real host outlives the
control plane. Tests reach into the host: agents end by themselves, or refuse to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from control_plane.engines.engine import (
    Alive,
    EngineError,
    EngineUnavailableError,
    Gone,
    Job,
    JobState,
    Unknown,
)

if TYPE_CHECKING:
    from common.clock import Clock
    from common.ids import RunNumber, SessionId
    from common.session_spec import SessionSpec


@dataclass(slots=True)
class FakeAgent:
    """One run's agent. `obeys` False is one that only force ends."""

    spec: SessionSpec | None
    obeys: bool = True
    ended: str | None = None
    stop_asked_at: float | None = None


@dataclass(slots=True)
class FakeHost:
    """Where the agents run."""

    agents: dict[tuple[SessionId, RunNumber], FakeAgent] = field(default_factory=dict)
    state: set[SessionId] = field(default_factory=set)
    """Sessions whose state is kept."""
    agents_obey: bool = True
    """Of agents that start from now on."""

    def living(self, session_id: SessionId) -> list[RunNumber]:
        """The runs of this session whose agents live: one at most, if all is well."""
        return [
            run
            for (session, run), agent in self.agents.items()
            if session == session_id and agent.ended is None
        ]

    def end(self, session_id: SessionId, run: RunNumber, reason: str = "killed") -> None:
        """Let an agent end by itself."""
        agent = self.agents[session_id, run]
        agent.ended = agent.ended or reason


class FakeEngine:
    """See the module. `trouble` is raised by the next calls, one each."""

    def __init__(self, clock: Clock, host: FakeHost | None = None) -> None:
        self.host = host or FakeHost()
        self.trouble: list[EngineError] = []
        self.is_blind = False
        """Whether `observe` can't tell anything now."""
        self._clock = clock

    async def submit(self, spec: SessionSpec) -> Job:
        """See `Engine`."""
        self._stumble()
        job = Job(session_id=spec.session_id, run_number=spec.run_number)
        key = (spec.session_id, spec.run_number)
        if key in self.host.agents:
            return job
        if self.host.living(spec.session_id):
            raise EngineUnavailableError("The previous run has not ended yet.")
        over = any(s == spec.session_id and r > spec.run_number for s, r in self.host.agents)
        if not over:
            self.host.agents[key] = FakeAgent(spec, obeys=self.host.agents_obey)
            self.host.state.add(spec.session_id)
        return job

    async def observe(self, job: Job) -> JobState:
        """See `Engine`."""
        if self.is_blind:
            return Unknown("blind")
        # one that was never started is marked, so that it can't begin any more
        agent = self.host.agents.setdefault(
            (job.session_id, job.run_number), FakeAgent(None, ended="never started")
        )
        return Alive() if agent.ended is None else Gone(agent.ended)

    async def stop(self, job: Job, *, grace_seconds: float) -> None:
        """See `Engine`."""
        self._stumble()
        agent = self.host.agents.get((job.session_id, job.run_number))
        if agent is None or agent.ended is not None:
            return
        now = self._clock.monotonic()
        if agent.stop_asked_at is None:
            agent.stop_asked_at = now
        if agent.obeys or now - agent.stop_asked_at >= grace_seconds:
            agent.ended = "stopped"

    async def forget(self, session_id: SessionId) -> None:
        """See `Engine`."""
        self._stumble()
        if self.host.living(session_id):
            raise EngineUnavailableError("The session has not ended yet.")
        self.host.state.discard(session_id)

    def _stumble(self) -> None:
        if self.trouble:
            raise self.trouble.pop(0)
