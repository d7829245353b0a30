"""An edge as it is run: settings, ports, health, metrics, its end."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp
import pytest

from common.clock import SystemClock
from common.http1.lane import TcpAddress, UnixAddress
from common.secret import Secret
from connect_proxy.config import ConfigError, EdgeConfig, from_environment
from connect_proxy.edge import platform_address, serve
from tests.support.platform import Platform
from tests.support.rig import DOMAIN, running_rig, until

if TYPE_CHECKING:
    from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_an_edge_serves_tells_its_health_and_drains_when_it_is_cancelled(
    tmp_path: Path,
) -> None:
    platform = Platform(tmp_path, DOMAIN)
    platform.down = True
    await platform.start()
    management = free_port()
    config = EdgeConfig(
        connect_domain=DOMAIN,
        control_plane_url=f"unix:{platform.path}",
        edge_token=Secret("t"),
        listen_port=0,
        management_port=management,
    )
    ports: list[int] = []
    task = asyncio.get_running_loop().create_task(
        serve(config, clock=SystemClock(), on_ready=ports.append)
    )
    await until(lambda: ports)
    base = f"http://127.0.0.1:{management}"
    async with aiohttp.ClientSession() as http:

        async def health() -> int:
            async with http.get(base + "/health") as response:
                return response.status

        assert await health() == 503, "nobody could be let in yet"
        platform.down = False
        async with asyncio.timeout(15):
            while await health() != 200:
                await asyncio.sleep(0.02)
        async with http.get(f"http://127.0.0.1:{ports[0]}/x") as response:
            assert response.status == 421
        async with http.get(base + "/metrics") as response:
            text = await response.text()
        assert 'studios_edge_refused_total{reason="unknown_host"} 1.0' in text
        assert "studios_edge_tunnels_parked 0.0" in text
        assert "studios_edge_requests_total 0.0" in text
    reader, writer = await asyncio.open_connection("127.0.0.1", ports[0])
    task.cancel()
    assert await reader.read(-1) == b""
    with pytest.raises(asyncio.CancelledError):
        await task
    writer.close()
    await platform.stop()


def test_where_the_control_plane_listens() -> None:
    assert platform_address("unix:/a/b") == UnixAddress("/a/b")
    assert platform_address("http://host:81/") == TcpAddress("host", 81)
    assert platform_address("http://host") == TcpAddress("host", 80)


SETTINGS = {
    "STUDIOS_EDGE_CONNECT_DOMAIN": "Studio.Example",
    "STUDIOS_EDGE_CONTROL_PLANE_URL": "http://control-plane:9190",
    "STUDIOS_EDGE_LISTEN_HOST": "0.0.0.0",
    "STUDIOS_EDGE_LISTEN_PORT": "443",
    "STUDIOS_EDGE_PUBLIC_SCHEME": "https",
    "STUDIOS_EDGE_MANAGEMENT_PORT": "9192",
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    token = tmp_path / "token"
    token.write_text("secret\n")
    for name, value in {**SETTINGS, "STUDIOS_EDGE_TOKEN_FILE": str(token)}.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_settings_come_from_the_environment(settings: pytest.MonkeyPatch) -> None:
    config = from_environment()
    assert config.connect_domain == "studio.example"
    assert config.platform_origin == "https://studio.example"
    assert (config.listen_host, config.listen_port, config.management_port) == (
        "0.0.0.0", 443, 9192,
    )  # fmt: skip
    assert config.edge_token.reveal() == "secret"
    assert "secret" not in repr(config)
    settings.delenv("STUDIOS_EDGE_MANAGEMENT_PORT")
    assert from_environment().management_port is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STUDIOS_EDGE_CONNECT_DOMAIN", ""),
        ("STUDIOS_EDGE_CONTROL_PLANE_URL", ""),
        ("STUDIOS_EDGE_TOKEN_FILE", ""),
        ("STUDIOS_EDGE_TOKEN_FILE", "/nowhere"),
        ("STUDIOS_EDGE_LISTEN_PORT", "http"),
        ("STUDIOS_EDGE_LISTEN_PORT", "65536"),
        ("STUDIOS_EDGE_LISTEN_PORT", "-1"),
        ("STUDIOS_EDGE_MANAGEMENT_PORT", ""),
        ("STUDIOS_EDGE_PUBLIC_SCHEME", "ftp"),
    ],
)
def test_a_wrong_setting_is_named(settings: pytest.MonkeyPatch, name: str, value: str) -> None:
    settings.setenv(name, value)
    with pytest.raises(ConfigError, match=name):
        from_environment()


async def test_an_edge_does_not_wait_for_ever_for_what_is_under_way(
    tmp_path: Path,
) -> None:

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with running_rig(tmp_path, never) as rig:
        _, writer = await rig.connect()
        writer.write(rig.request())
        await until(lambda: rig.agents[0].link.status().busy == 1)
        rig.edge.config = replace(rig.edge.config, drain_seconds_max=0.3)
        async with asyncio.timeout(5):
            await rig.edge.drain()
        assert rig.edge.listener.connections
        writer.close()
