"""The control plane's core on a real database, with a fake host, a stepping clock and agents."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from common.clock import SteppingClock
from common.ids import RunNumber, SessionId
from common.messages import RunPhase, RunState, StatusReport, ToolPhase, ToolStatus
from common.templates import load_templates
from common.tokens import TokenSigner, generate_key
from control_plane import schema
from control_plane.engines.fake import FakeEngine, FakeHost
from control_plane.events import EventBus
from control_plane.model import DEFAULT_COMPUTE_ENV, HealthResult, Person, Role, Studio
from control_plane.reconciler import Reconciler
from control_plane.service import StudioService
from control_plane.settings import ServiceSettings
from control_plane.validation import CreateStudio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from common.messages import DesiredState

PROJECT = Path(__file__).parents[2]
KEY = generate_key("test")


@dataclass(slots=True)
class FakeProbe:
    """Answers for a session that can be reached, or can't. Counts the questions."""

    clock: SteppingClock
    ok: bool = True
    asked: int = 0

    async def probe(self, studio: Studio) -> HealthResult:
        self.asked += 1
        return HealthResult(ok=self.ok, at=self.clock.now(), message="" if self.ok else "no answer")


@dataclass(slots=True)
class FakeAgent:
    """One run's agent, as far as the control plane can see."""

    session_id: SessionId
    run: RunNumber
    phase: RunPhase = RunPhase.STARTING
    sequence: int = 0
    message: str = ""
    desired: DesiredState | None = None

    def report(self, clock: SteppingClock) -> StatusReport:
        self.sequence += 1
        return StatusReport(
            session_id=self.session_id,
            run_number=self.run,
            sequence=self.sequence,
            sent_at=clock.now(),
            phase=self.phase,
            message=self.message,
            tool=ToolStatus(phase=ToolPhase.READY),
        )

    async def speak(self, plane: Plane) -> DesiredState:
        """Report, and take in the reply."""
        self.desired = await plane.service.record_report(
            self.session_id, self.run, self.report(plane.clock)
        )
        if self.desired.run_state is not RunState.RUN and self.phase in _UP:
            self.phase = RunPhase.STOPPING
        return self.desired

    def live_on(self, host: FakeHost) -> None:
        if self.phase is RunPhase.STARTING:
            self.phase = RunPhase.RUNNING
        elif self.phase is RunPhase.STOPPING:
            self.phase = RunPhase.STOPPED
        elif self.phase in _OVER:
            host.end(self.session_id, self.run, "exit code 0")


_UP = (RunPhase.STARTING, RunPhase.RUNNING)
_OVER = (RunPhase.STOPPED, RunPhase.FAILED, RunPhase.SUPERSEDED)


@dataclass(slots=True)
class Plane:
    """Everything a test of the core needs; `restart` replaces service and reconciler."""

    database_url: str
    service: StudioService
    reconciler: Reconciler
    engine: FakeEngine
    host: FakeHost
    probe: FakeProbe
    clock: SteppingClock
    bus: EventBus
    admin: Person
    agents: dict[tuple[SessionId, RunNumber], FakeAgent] = field(default_factory=dict)

    async def create(self, name: str = "demo", *, auto_start: bool = False) -> Studio:
        request = CreateStudio(name=name, compute_env_id=DEFAULT_COMPUTE_ENV)
        return await self.service.create(self.admin, request, auto_start=auto_start)

    async def get(self, studio: Studio) -> Studio:
        return await self.service.get(self.admin, studio.session_id)

    def agent(self, studio: Studio, run: int) -> FakeAgent:
        """The agent of a run, whether or not the host runs it."""
        key = (studio.session_id, RunNumber(run))
        return self.agents.setdefault(key, FakeAgent(*key))

    def living(self) -> list[FakeAgent]:
        """The agents that the host runs."""
        alive = [key for key, agent in self.host.agents.items() if agent.ended is None]
        return [self.agents.setdefault(key, FakeAgent(*key)) for key in alive]

    async def turn(self, seconds: float = 1.0) -> None:
        """Let time pass, agents live and report, and the reconciler make a pass."""
        await self.clock.advance(seconds)
        for agent in self.living():
            agent.live_on(self.host)
        for agent in self.living():
            await agent.speak(self)
        await self.reconciler.run_once()

    async def run_until(self, studio: Studio, status: str, *, turns: int = 60) -> Studio:
        """Take turns until the Studio has this status."""
        now = await self.get(studio)
        for _ in range(turns):
            if now.status == status:
                return now
            await self.turn()
            now = await self.get(studio)
        raise AssertionError(f"{now.status} ({now.status_message}), not {status}")

    async def running(self, name: str = "demo") -> Studio:
        return await self.run_until(await self.create(name, auto_start=True), "running")

    async def restart(self) -> None:
        """Kill the control plane: new objects on the same database and host."""
        self.service, self.bus, self.engine = _service(
            self.service.core.store.database, self.clock, self.host
        )
        self.reconciler = Reconciler(self.service, self.probe)


def _service(
    database: AsyncEngine, clock: SteppingClock, host: FakeHost
) -> tuple[StudioService, EventBus, FakeEngine]:
    bus, engine = EventBus(), FakeEngine(clock, host)
    settings = ServiceSettings(
        connect_domain="studio.localhost:9191",
        control_plane_url="http://studio.localhost:9191",
        edge_urls=("http://studio.localhost:9191",),
        sessions_dir=Path("/nowhere/sessions"),
    )
    service = StudioService(
        database,
        {"local": engine},
        load_templates(PROJECT / "images"),
        TokenSigner([KEY], clock),
        clock,
        bus,
        settings,
    )
    return service, bus, engine


@asynccontextmanager
async def open_plane(database_url: str) -> AsyncIterator[Plane]:
    clock, host = SteppingClock(), FakeHost()
    database = schema.connect(database_url)
    try:
        await schema.upgrade(database)
        service, bus, engine = _service(database, clock, host)
        await service.ensure_workspace(work_dir="file:///nowhere/work")
        admin = await service.add_user(None, "Ada", Role.OWNER)
        probe = FakeProbe(clock)
        reconciler = Reconciler(service, probe)
        yield Plane(
            database_url=database_url,
            service=service,
            reconciler=reconciler,
            engine=engine,
            host=host,
            probe=probe,
            clock=clock,
            bus=bus,
            admin=admin,
        )
    finally:
        await database.dispose()
