"""Health and metrics of the control plane itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import sqlalchemy as sa
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from control_plane.access import Action, Refused, may
from control_plane.api.route import Call, Parameters, Reply
from control_plane.errors import RefusedError, UnavailableError
from control_plane.login.database import reading
from control_plane.model import Person, Status
from control_plane.schema import UtcTime, checkpoints, studios

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware
    from sqlalchemy.ext.asyncio import AsyncEngine

    from common.clock import Clock
    from control_plane.api.streams import Streams
    from control_plane.collecting import Tally

DATABASE_TIMEOUT_SECONDS = 5.0  # a healthy answer takes milliseconds; probes give up after ten


class HealthReply(Reply, frozen=True, kw_only=True):
    """The database answers."""

    status: str = "ok"


class Operations:
    """Counts what is asked, and tells it."""

    def __init__(self, database: AsyncEngine, streams: Streams, clock: Clock, tally: Tally) -> None:
        self._database = database
        self._clock = clock
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "studios_http_requests",
            "Requests answered",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "studios_http_request_seconds",
            "Time to answer; streams and long polls are not counted",
            ("method", "route"),
            registry=self._registry,
        )
        self._studios = Gauge(
            "studios_studios", "Studios by status", ("status",), registry=self._registry
        )
        self._age = Gauge(
            "studios_checkpoint_age_seconds_max",
            "What a power cut would cost at most: of running sessions, the longest time since "
            "files were safe; 0 if none runs",
            registry=self._registry,
        )
        Gauge(
            "studios_open_streams", "Event streams, feeds and long polls", registry=self._registry
        ).set_function(lambda: streams.open)
        self._to_delete = Gauge(
            "studios_checkpoints_to_delete",
            "Deleted by people, and not gone from storage yet",
            registry=self._registry,
        )
        for name, what, value in (
            ("collections", "Collections that came to their end", lambda: tally.collections),
            ("collection_failures", "Those that didn't", lambda: tally.failures),
            ("checkpoints_deleted", "Gone from storage", lambda: tally.deleted_checkpoints),
            ("deletions_refused", "By storage", lambda: tally.refused_deletions),
            ("collected_bytes", "Freed in storage", lambda: tally.freed_bytes),
            ("collection_problems", "What the last could not read", lambda: tally.problems),
        ):
            Gauge(f"studios_{name}", what, registry=self._registry).set_function(value)

    async def describe_health(self, call: Call[None, Parameters, None]) -> HealthReply:
        try:
            async with asyncio.timeout(DATABASE_TIMEOUT_SECONDS):
                async with reading(self._database) as connection:
                    await connection.execute(sa.select(1))
        except (TimeoutError, OSError, sa.exc.SQLAlchemyError):
            raise UnavailableError("The database doesn't answer: check that it runs.") from None
        return HealthReply()

    async def describe_metrics(self, call: Call[Person, Parameters, None]) -> web.StreamResponse:
        decision = may(call.who, Action.SETTINGS)
        if isinstance(decision, Refused):
            raise RefusedError("Metrics are for Owners and Admins: use an API token of one.")
        await self._count_studios()
        await self._measure_age()
        await self._count_to_delete()
        return web.Response(
            body=generate_latest(self._registry),
            headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4},
        )

    async def _count_studios(self) -> None:
        query = (
            sa.select(studios.c.status, sa.func.count())
            .where(~studios.c.deleted)
            .group_by(studios.c.status)
        )
        async with reading(self._database) as connection:
            counts = {row[0]: row[1] for row in await connection.execute(query)}
        for status in Status:
            self._studios.labels(status).set(counts.get(status, 0))

    async def _measure_age(self) -> None:
        since = sa.func.coalesce(checkpoints.c.date_saved, checkpoints.c.date_created)
        query = (
            sa.select(sa.func.min(since, type_=UtcTime))
            .join(studios, studios.c.session_id == checkpoints.c.session_id)
            .where(
                studios.c.status == Status.RUNNING,
                studios.c.run_number == checkpoints.c.run_number,
                checkpoints.c.deleted_at.is_(None),
            )
        )
        async with reading(self._database) as connection:
            oldest = (await connection.execute(query)).scalar_one()
        age = (self._clock.now() - oldest).total_seconds() if oldest is not None else 0.0
        self._age.set(max(age, 0.0))

    async def _count_to_delete(self) -> None:
        query = sa.select(sa.func.count()).where(checkpoints.c.deleted_at.is_not(None))
        async with reading(self._database) as connection:
            self._to_delete.set((await connection.execute(query)).scalar_one())

    def middleware(self) -> Middleware:
        """Return what measures every request; goes outermost."""

        @web.middleware
        async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
            began = self._clock.monotonic()
            # the route's pattern, not the path: every distinct label value is kept for ever
            resource = request.match_info.route.resource
            route = resource.canonical if resource is not None else "none"
            status = 500
            try:
                response = await handler(request)
                status = response.status
            except web.HTTPException as error:
                status = error.status
                raise
            finally:
                method = request.method if request.method in _METHODS else "other"
                self._requests.labels(method, route, str(status)).inc()
                if status < 300 and route not in _ENDLESS:
                    self._seconds.labels(method, route).observe(self._clock.monotonic() - began)
            return response

        return measure


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})
_ENDLESS = frozenset({"/api/events", "/api/edge/v1/feed", "/api/agent/v1/desired"})
