"""The real JupyterLab, started by the start script of its image and supervised by a real agent."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from agent.supervisor.proctable import read_environment, read_table
from common.messages import RunPhase
from common.session_spec import ToolSpec
from common.templates import load_templates, parse_tag
from tests.support.agent_rig import ROOT, free_port, running_agent, session_spec, until
from tests.support.fake_control_plane import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = ROOT / "images" / "jupyterlab"
INSTALLED = Path("/opt/studios/jupyterlab")


def test_the_tag_carries_the_locked_version_of_jupyterlab() -> None:
    facts = load_templates(ROOT / "images")["jupyterlab"]
    locked = re.search(
        r"^jupyterlab==(\S+)", (IMAGE / "requirements.txt").read_text(), re.MULTILINE
    )
    assert locked is not None
    assert parse_tag(facts.tag).tool_version == locked[1]


def test_the_environment_of_the_tests_has_the_locked_version() -> None:
    facts = load_templates(ROOT / "images")["jupyterlab"]
    version = parse_tag(facts.tag).tool_version
    assert list(INSTALLED.glob(f"lib/python3*/site-packages/jupyterlab-{version}.dist-info"))


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """The start script of this tree beside the installed environment."""
    folder = tmp_path / "jupyterlab"
    folder.mkdir()
    for path in INSTALLED.iterdir():
        if path.name != "start":
            (folder / path.name).symlink_to(path)
    (folder / "start").symlink_to(IMAGE / "start")
    return folder / "start"


@pytest.fixture
def lab(tmp_path: Path, start: Path) -> ToolSpec:
    facts = load_templates(ROOT / "images")["jupyterlab"]
    return ToolSpec(
        name=facts.title,
        command=(str(start),),
        port=free_port(),
        working_directory=str(tmp_path / "workspace"),
        readiness_path=facts.readiness_path,
        activity=facts.activity,
        path_prefix="/_studio/a1234abcd",
    )


def configured_extensions() -> set[str]:
    return {
        name
        for path in INSTALLED.glob("etc/jupyter/jupyter_server_config.d/*.json")
        for name in re.findall(r'"(\w+)": true', path.read_text())
    }


def processes_of(tool_id: bytes) -> Iterator[int]:
    mark = b"CONNECT_TOOL_ID=" + tool_id
    return (pid for pid in read_table() if mark in read_environment(pid).split(b"\0"))


async def start_kernel(url: str) -> None:
    """Start a kernel as the page does, with the cookie's token."""
    jar = aiohttp.CookieJar(unsafe=True)  # unsafe: cookies of an address, not a name
    async with aiohttp.ClientSession(cookie_jar=jar) as browser:
        async with browser.get(f"{url}/lab") as page:
            assert page.status == 200
            token = page.cookies["_xsrf"].value
        async with browser.post(f"{url}/api/kernels", json={}) as refused:
            assert refused.status == 403, "without the token it is another site's request"
        headers = {"X-XSRFToken": token}
        async with browser.post(f"{url}/api/kernels", json={}, headers=headers) as created:
            assert created.status == 201, await created.text()


async def test_jupyterlab_starts_is_restarted_after_kill_9_and_stops_with_its_kernels(
    tmp_path: Path, lab: ToolSpec
) -> None:
    async with serving() as control_plane:
        spec = session_spec(tmp_path, lab, url=control_plane.url, grace_seconds=20)
        async with running_agent(tmp_path, spec) as agent:
            running = await control_plane.reached(RunPhase.RUNNING)
            first = running.tool.pid
            assert first is not None
            await start_kernel(f"http://127.0.0.1:{lab.port}{lab.path_prefix}")
            mark = b"CONNECT_TOOL_ID="
            tool_id = next(
                one.removeprefix(mark)
                for one in read_environment(first).split(b"\0")
                if one.startswith(mark)
            )
            await until(lambda: len(list(processes_of(tool_id))) > 1, what="a kernel runs")
            os.kill(first, signal.SIGKILL)
            await control_plane.reported(
                lambda report: report.phase is RunPhase.RUNNING and report.tool.restarts == 1
            )
            await start_kernel(f"http://127.0.0.1:{lab.port}{lab.path_prefix}")
            agent.signal(signal.SIGTERM)
            assert await agent.exit_code() == 0, agent.log()
        assert list(processes_of(tool_id)) == []
        assert control_plane.reports[-1].phase is RunPhase.STOPPED
        log = (tmp_path / "state" / "tool.log").read_text()
        assert log.count("jupyterlab | extension was successfully loaded") == 2
        for lost in ("failed loading", 'Traceback (most recent call last):\n  File "<string>"'):
            assert lost not in log


async def test_every_server_extension_of_the_environment_is_loaded(
    tmp_path: Path, lab: ToolSpec
) -> None:
    wanted = configured_extensions()
    async with serving() as control_plane:
        spec = session_spec(tmp_path, lab, url=control_plane.url, grace_seconds=20)
        async with running_agent(tmp_path, spec) as agent:
            await control_plane.reached(RunPhase.RUNNING)
            agent.signal(signal.SIGTERM)
            await agent.exit_code()
    log = (tmp_path / "state" / "tool.log").read_text()
    loaded = set(re.findall(r"\] (\w+) \| extension was successfully loaded", log))
    assert {"jupyterlab", "jupyter_server_terminals"} <= wanted <= loaded
