"""Health is asked through the edge as a user would be, and kept on the Studio."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from common.tokens import StudioClaims, TokenVerifier, studio_audience
from control_plane.health_poll import EdgeProbe, HealthPoll
from control_plane.model import Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from control_plane.model import HealthResult, Studio
    from tests.support.core_plane import Plane


@asynccontextmanager
async def edge(seen: list[web.Request], status: int, body: str) -> AsyncIterator[str]:
    """A server that answers like an edge; yields its URL."""

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        return web.Response(status=status, text=body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://studio.localhost:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_probe_speaks_as_the_control_plane_to_the_sessions_host(plane: Plane) -> None:
    studio = await plane.running()
    seen: list[web.Request] = []
    async with edge(seen, 200, "{}") as url:
        result = await EdgeProbe(plane.service, edge_url=url).probe(studio)
    assert (result.ok, result.at) == (True, plane.clock.now())
    (request,) = seen
    assert request.path == "/.studio/health"
    assert request.headers["Host"] == f"a{studio.session_id}.studio.localhost:9191"
    verifier = TokenVerifier(plane.service.core.signer.public_keys(), plane.clock)
    claims = verifier.verify(
        request.headers["Authorization"].removeprefix("Bearer "),
        StudioClaims,
        audience=studio_audience(studio.session_id),
    )
    assert (claims.sid, claims.scope, claims.exp - claims.iat) == (studio.session_id, "health", 60)


async def test_answers_that_are_not_healthy_say_why(plane: Plane) -> None:
    studio = await plane.running()
    for status, body, said in (
        (503, '{"message": "the tool does not answer"}', "the tool does not answer"),
        (502, "<html>", "the edge answered 502"),
        (302, "", "the edge answered 302"),
    ):
        async with edge([], status, body) as url:
            result = await EdgeProbe(plane.service, edge_url=url).probe(studio)
        assert (result.ok, result.message) == (False, said)


async def test_troubles_of_root_and_volume_are_told_though_users_can_work(plane: Plane) -> None:
    studio = await plane.running()
    for body, said in (
        ('{"root": "ready", "volume": {"message": ""}}', ""),
        ('{"root": null, "volume": null}', ""),
        ('{"volume": {"message": "the disk is nearly full", "full": false}}', "the disk is nearly"),
        ('{"root": "limits were reached"}', "root: limits were reached"),
        (
            '{"message": "m", "root": "r", "volume": {"message": "v"}}',
            "m; v; root: r",
        ),
    ):
        async with edge([], 200, body) as url:
            result = await EdgeProbe(plane.service, edge_url=url).probe(studio)
        assert result.ok
        assert result.message.startswith(said)
        assert bool(result.message) == bool(said)


async def test_edge_that_is_down_is_a_result_too(plane: Plane) -> None:
    studio = await plane.running()
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        result = await EdgeProbe(plane.service, edge_url=url).probe(studio)
    assert not result.ok
    assert result.message.startswith("no answer through the edge")


async def test_poll_keeps_result_and_time_and_changes_no_status(plane: Plane) -> None:
    studio, idle = await plane.running(), await plane.create("idle")
    plane.probe.ok = False
    poll = HealthPoll(plane.service, plane.probe)
    await plane.clock.advance(5)
    await poll.run_once()
    polled = await plane.get(studio)
    assert polled.status is Status.RUNNING
    assert polled.health is not None
    assert (polled.health.ok, polled.health.at) == (False, plane.clock.now())
    assert (await plane.get(idle)).health is None
    assert plane.probe.asked == 1


async def test_result_that_comes_after_the_stop_is_dropped(plane: Plane) -> None:
    studio = await plane.running()

    class StopsMeanwhile:
        async def probe(self, now: object) -> object:
            await plane.service.stop(plane.admin, studio.session_id)
            return await plane.probe.probe(studio)

    await HealthPoll(plane.service, StopsMeanwhile()).run_once()  # type: ignore[arg-type]
    assert (await plane.get(studio)).health is None


async def test_nesting_without_end_is_only_an_answer_without_a_message(plane: Plane) -> None:
    studio = await plane.running()
    async with edge([], 503, '{"more":' + "[" * 60_000) as url:
        result = await EdgeProbe(plane.service, edge_url=url).probe(studio)
    assert (result.ok, result.message) == (False, "the edge answered 503")


async def test_a_probe_that_fails_ends_no_other(plane: Plane) -> None:
    broken, other = await plane.running("broken"), await plane.running("other")

    class FailsForOne:
        async def probe(self, studio: Studio) -> HealthResult:
            if studio.session_id == broken.session_id:
                raise RecursionError("a bug")
            return await plane.probe.probe(studio)

    await HealthPoll(plane.service, FailsForOne()).run_once()
    assert (await plane.get(broken)).health is None
    assert (await plane.get(other)).health is not None
