"""Composes the edge and serves until cancelled. Start here; then `site`."""

from __future__ import annotations

import asyncio
import random
import resource
from typing import TYPE_CHECKING

import structlog

from common.http1.lane import TcpAddress, UnixAddress
from common.http1.listener import Listener, sweep_forever
from common.tasks import TaskBag
from common.tokens import InvalidTokenError, TokenVerifier
from connect_proxy import management
from connect_proxy.control_plane import (
    ControlPlane,
    ControlPlaneUnavailableError,
    TokenRefusedError,
)
from connect_proxy.cookies import CookieNames
from connect_proxy.gates import Gates
from connect_proxy.grants import Grants
from connect_proxy.login import Login
from connect_proxy.metrics import EdgeCollector, EdgeCounters
from connect_proxy.platform import PlatformDoor
from connect_proxy.presence import Presence
from connect_proxy.refusals import Refusals
from connect_proxy.renewals import Renewals
from connect_proxy.sessions import SessionDirectory
from connect_proxy.site import EdgeSite
from connect_proxy.tunnels import Tunnels

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.clock import Clock
    from common.edge_messages import EdgeSession
    from common.http1.lane import Address
    from common.ids import SessionId
    from connect_proxy.config import EdgeConfig

_log = structlog.get_logger()

_KEYS_SECONDS = 300.0
_KEYS_RETRY_SECONDS = 0.5
_DESCRIPTORS_WANTED = 65536


class Edge:
    """The parts, wired."""

    def __init__(self, config: EdgeConfig, clock: Clock) -> None:
        self.config = config
        self.clock = clock
        self.tasks = TaskBag("edge")
        self.listener = Listener()
        self.tunnels = Tunnels()
        self.counters = EdgeCounters()
        self.verifier = TokenVerifier("", clock)
        self.grants = Grants(self.verifier, clock)
        self.control_plane = ControlPlane(
            config.control_plane_url, config.edge_token, clock, random.Random()
        )
        self.presence = Presence(
            edge_id=config.edge_id,
            control_plane=self.control_plane,
            grants=self.grants,
            connections=self.listener.connections,
            clock=clock,
        )
        self.directory = SessionDirectory(
            access_changed=self._access_changed, removed=self._session_removed
        )
        refusals = Refusals(self.counters)
        self.platform = PlatformDoor(
            platform_address(config.control_plane_url),
            config=config,
            verifier=self.verifier,
            refusals=refusals,
        )
        self.site = EdgeSite(
            config=config,
            platform=self.platform,
            directory=self.directory,
            tunnels=self.tunnels,
            grants=self.grants,
            login=Login(
                platform_origin=config.platform_origin,
                names=CookieNames.for_scheme(config.public_scheme),
                control_plane=self.control_plane,
                grants=self.grants,
                directory=self.directory,
            ),
            presence=self.presence,
            renewals=Renewals(self.control_plane, self.grants, self.tasks),
            counters=self.counters,
            refusals=refusals,
            gates=Gates(
                scheme=config.public_scheme.encode(),
                verifier=self.verifier,
                directory=self.directory,
                tunnels=self.tunnels,
                presence=self.presence,
                counters=self.counters,
                refusals=refusals,
            ),
            listener=self.listener,
            tasks=self.tasks,
        )

    def _access_changed(self, session: EdgeSession) -> None:
        self.tasks.spawn(self.presence.recheck(session), name=f"recheck-{session.session_id}")

    def _session_removed(self, session_id: SessionId) -> None:
        self.presence.end_session(session_id)
        self.tunnels.forget(session_id)

    def gauges(self) -> dict[str, int]:
        """Return what is true at this moment, by metric name."""
        return {
            "connections": len(self.listener.connections),
            "open_websockets": self.presence.websockets,
            "people": self.presence.people,
            "tunnels_parked": sum(tunnels.parked for tunnels in self.tunnels),
            "tunnels_open": sum(tunnels.open for tunnels in self.tunnels),
        }

    async def load_keys_forever(self) -> None:
        """Keep the control plane's public keys; without any, nothing is let in."""
        while True:
            try:
                self.verifier.load(await self.control_plane.signing_keys())
                pause = _KEYS_SECONDS
            except (ControlPlaneUnavailableError, TokenRefusedError, InvalidTokenError) as error:
                _log.info("signing_keys_not_loaded", reason=str(error))
                pause = _KEYS_RETRY_SECONDS if not self.verifier.key_ids else _KEYS_SECONDS / 10
            await self.clock.sleep(pause)

    async def drain(self) -> None:
        """Take no new connections, send agents elsewhere, let requests end within a limit."""
        self.site.draining = True
        self.listener.stop_accepting()
        self.tunnels.drain()
        deadline = self.clock.monotonic() + self.config.drain_seconds_max
        while self.clock.monotonic() < deadline:
            self.listener.close_resting()
            if not self.listener.connections:
                return
            await self.clock.sleep(0.1)

    async def close(self) -> None:
        self.listener.abort()
        self.presence.close()
        await self.tasks.close()
        self.tunnels.close()
        self.platform.close()
        await self.control_plane.close()


def platform_address(url: str) -> Address:
    """Return where the control plane listens; `url` as in `EdgeConfig.control_plane_url`."""
    if url.startswith("unix:"):
        return UnixAddress(url.removeprefix("unix:"))
    host, _, port = url.removeprefix("http://").rstrip("/").partition(":")
    return TcpAddress(host, int(port or 80))


def raise_descriptor_limit() -> None:
    """Allow as many open files as the system lets us: two descriptors a connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(hard, 1 << 20)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def serve(config: EdgeConfig, *, clock: Clock, on_ready: Callable[[int], None]) -> None:
    """Serve until cancelled; `on_ready` is told the port. Raises OSError if it can't listen."""
    raise_descriptor_limit()
    edge = Edge(config, clock)
    runner = None
    try:
        port = await edge.listener.listen(edge.site, config.listen_host, config.listen_port)
        if config.management_port is not None:
            runner = await management.serve(
                config.management_host,
                config.management_port,
                collector=EdgeCollector(edge.counters, edge.gauges),
                healthy=lambda: bool(edge.verifier.key_ids) and edge.directory.known,
            )
        sweeps = (
            edge.listener.sweep,
            edge.tunnels.sweep,
            edge.platform.sweep,
            edge.presence.sweep,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(edge.load_keys_forever(), name="edge/keys")
            group.create_task(edge.control_plane.follow_feed(edge.directory), name="edge/feed")
            group.create_task(edge.presence.report_forever(), name="edge/presence")
            group.create_task(sweep_forever(clock, sweeps), name="edge/sweep")
            group.create_task(edge.tasks.failed(), name="edge/tasks")
            on_ready(port)
    except asyncio.CancelledError:
        await edge.drain()
        raise
    finally:
        if runner is not None:
            await runner.cleanup()
        await edge.close()
