"""The control plane as a server. **Start here** for everything HTTP; for what it does, `service`.

Opens the database, composes the parts, listens, and takes everything down again in reverse order.
"""

from __future__ import annotations

import asyncio
import fcntl
import random
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from control_plane import schema
from control_plane.api.presence import SILENCE_SECONDS
from control_plane.collecting import Collector
from control_plane.composition import Parts, compose
from control_plane.config import InvalidConfigError
from control_plane.engines.host_folders import problem_of_carried, work_folder
from control_plane.engines.local import LocalEngine
from control_plane.events import Change, ChangeKind
from control_plane.health_poll import EdgeProbe, HealthPoll
from control_plane.listening import Runner, listen
from control_plane.reconciler import Reconciler
from control_plane.web import application

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path

    from common.clock import Clock
    from control_plane.config import ControlPlaneConfig
    from control_plane.engines.engine import Engine
    from control_plane.login.desk import LoginDesk
    from control_plane.service import StudioService

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A control plane that is listening."""

    parts: Parts
    port: int | None
    """The TCP port, if it listens on one."""

    @property
    def service(self) -> StudioService:
        return self.parts.service

    @property
    def login(self) -> LoginDesk:
        return self.parts.desk


async def serve(
    config: ControlPlaneConfig, *, clock: Clock, on_ready: Callable[[ControlPlane], None]
) -> None:
    """Run until cancelled. `on_ready` is called once, when calls are answered.

    Raises InvalidConfigError, or OSError when an address can't be listened on. Sessions go on when
    this ends: they are found again at the next start.
    """
    config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _only_one(config.data_dir):
        engines = {"local": _local_engine(config, clock)}
        async with open_plane(config, clock, engines) as plane, asyncio.TaskGroup() as group:
            service = plane.service
            probe = EdgeProbe(service, edge_url=config.edge_connect_url)
            group.create_task(Reconciler(service, probe).run(), name="reconciler")
            group.create_task(HealthPoll(service, probe).run(), name="health_poll")
            collector = Collector(service.core, plane.parts.tally, rng=random.Random())
            group.create_task(collector.run(), name="collector")
            group.create_task(_sweep_presence(plane.parts), name="presence")
            on_ready(plane)


def _local_engine(config: ControlPlaneConfig, clock: Clock) -> LocalEngine:
    work = work_folder(config.work_dir)
    kept = (config.data_dir,) if work is None else (config.data_dir, work)
    for folder in config.carried:
        if problem := problem_of_carried(str(folder), kept):
            raise InvalidConfigError(f"A folder can't be carried into sessions: {problem}")
    return LocalEngine(
        config.sessions_dir, clock, hidden=(config.data_dir,), carried=config.carried
    )


@asynccontextmanager
async def open_plane(
    config: ControlPlaneConfig, clock: Clock, engines: Mapping[str, Engine]
) -> AsyncIterator[ControlPlane]:
    """Yield a control plane that answers calls but drives nothing: tests step the reconciler."""
    async with AsyncExitStack() as stack:
        database = schema.connect(config.database_url)
        stack.push_async_callback(database.dispose)
        await schema.upgrade(database)
        parts = await compose(config, clock, database, engines)
        runner = Runner(application(parts))
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        port = await listen(
            runner, unix_socket=config.unix_socket, host=config.host, port=config.port
        )
        _log.info("control_plane_ready", socket=str(config.unix_socket), port=port)
        yield ControlPlane(parts, port)


async def _sweep_presence(parts: Parts) -> None:
    """Tell the page of people whose edge fell silent."""
    while True:
        await parts.clock.sleep(SILENCE_SECONDS / 3)
        for session_id in parts.presence.expire():
            parts.bus.publish(Change(ChangeKind.CHANGED, session_id))


@contextmanager
def _only_one(data_dir: Path) -> Iterator[None]:
    """Hold the data folder's lock: two control planes there would each start the sessions."""
    with (data_dir / "control-plane.lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidConfigError(
                f"Another control plane uses {data_dir}: stop it, or choose another data folder."
            ) from None
        yield
