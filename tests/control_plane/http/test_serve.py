"""The whole program: starts, answers, stops, and keeps what it knows."""

from __future__ import annotations

import asyncio
import stat
from typing import TYPE_CHECKING

import aiohttp
import pytest

from common.clock import SystemClock
from common.tokens import EDGE_AUDIENCE, EdgeClaims, TokenVerifier
from control_plane.app import ControlPlane, serve
from control_plane.config import ControlPlaneConfig, InvalidConfigError
from tests.support.plane import IMAGES, open_test_plane

if TYPE_CHECKING:
    from pathlib import Path


def config_in(folder: Path) -> ControlPlaneConfig:
    return ControlPlaneConfig(
        data_dir=folder,
        database_url=f"sqlite+aiosqlite:///{folder / 'studios.db'}",
        images_dir=IMAGES,
        work_dir=(folder / "work").as_uri(),
        unix_socket=folder / "s",
        port=0,
    )


async def test_it_serves_until_cancelled_on_both_addresses(folder: Path) -> None:
    ready: asyncio.Future[ControlPlane] = asyncio.get_running_loop().create_future()
    config = config_in(folder)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(serve(config, clock=SystemClock(), on_ready=ready.set_result))
        plane = await ready
        assert stat.S_IMODE((folder / "s").stat().st_mode) == 0o600
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{plane.port}/healthz") as answer:
                assert await answer.json() == {"status": "ok"}
        async with aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(folder / "s"))
        ) as http:
            async with http.get("http://x/healthz") as answer:
                assert answer.status == 200
        with pytest.raises(InvalidConfigError, match="Another control plane"):
            await serve(config, clock=SystemClock(), on_ready=lambda _: None)
        task.cancel()


async def test_keys_people_and_tokens_survive_a_restart(folder: Path) -> None:
    async with open_test_plane(folder) as plane:
        edge_token = plane.plane.login.issue_edge_token("edge-1").reveal()
        session_id = await plane.add()
    async with open_test_plane(folder) as plane:
        jwks = (await plane.nobody.get("/.well-known/jwks.json")).text
        claims = TokenVerifier(jwks, plane.clock).verify(
            edge_token, EdgeClaims, audience=EDGE_AUDIENCE
        )
        assert claims.edge == "edge-1"
        assert "d" not in (await plane.nobody.get("/.well-known/jwks.json")).body["keys"][0]
        assert (await plane.admin.get(f"/api/studios/{session_id}")).status == 200
        assert len((await plane.admin.get("/api/users")).body["users"]) == 1


async def test_metrics_count_requests_by_route_and_studios_by_status(folder: Path) -> None:
    async with open_test_plane(folder) as plane:
        session_id = await plane.add()
        await plane.admin.get(f"/api/studios/{session_id}")
        await plane.admin.get("/api/nothing/never-a-label")
        text = (await plane.admin.get("/metrics")).text
        assert (
            'studios_http_requests_total{method="GET",route="/api/studios/{sessionId}",'
            'status="200"} 1.0' in text
        )
        assert 'route="none",status="404"' in text
        assert "never-a-label" not in text
        assert 'studios_studios{status="stopped"} 1.0' in text


async def test_every_answer_is_fenced_in(folder: Path) -> None:
    async with open_test_plane(folder) as plane:
        browser = await plane.browser()
        for path in ("/", "/login", "/page/main.js", "/api/studios", "/api/nothing", "/healthz"):
            headers = (await browser.get(path)).headers
            policy = headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'self';" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Cache-Control"] in {"no-store", "no-cache"}


async def test_the_page_has_no_inline_script_or_style(folder: Path) -> None:
    async with open_test_plane(folder) as plane:
        for somebody, path in ((await plane.browser(), "/"), (plane.nobody, "/login")):
            text = (await somebody.get(path)).text
            assert text.count("<script") == text.count('<script type="module" src=')
            for forbidden in ("<style", "style=", "onclick", "javascript:"):
                assert forbidden not in text
