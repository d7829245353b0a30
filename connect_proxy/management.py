"""Health and metrics of the edge itself, on a port that the public doesn't reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client.registry import Collector


async def serve(
    host: str, port: int, *, collector: Collector, healthy: Callable[[], bool]
) -> web.AppRunner:
    """Listen; the caller ends it with `cleanup()`."""
    registry = CollectorRegistry()
    registry.register(collector)

    async def health(_: web.Request) -> web.Response:
        ok = healthy()
        return web.json_response({"healthy": ok}, status=200 if ok else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), content_type="text/plain")

    application = web.Application()
    application.router.add_get("/health", health)
    application.router.add_get("/metrics", metrics)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
