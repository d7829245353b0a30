"""The real JupyterLab, started by the start script of its image and supervised by a real agent."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from common.messages import RunPhase
from common.session_spec import SessionSpec, ToolSpec
from common.templates import load_templates, parse_tag
from tests.support.agent_rig import ROOT, free_port, lives, running_agent, session_spec, until
from tests.support.fake_control_plane import serving
from tests.support.seen_session import SeenSession

if TYPE_CHECKING:
    from tests.support.fake_control_plane import FakeControlPlane

IMAGE = ROOT / "images" / "jupyterlab"
INSTALLED = Path("/opt/studios/jupyterlab")
KERNEL = b"ipykernel_launcher"
SHELL = b"/bin/bash"


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
def start(place: Path) -> Path:
    """The start script of this tree beside the installed environment."""
    folder = place / "jupyterlab"
    folder.mkdir()
    for path in INSTALLED.iterdir():
        if path.name != "start":
            (folder / path.name).symlink_to(path)
    shutil.copy(IMAGE / "start", folder / "start")
    return folder / "start"


@pytest.fixture
def lab(start: Path) -> ToolSpec:
    facts = load_templates(ROOT / "images")["jupyterlab"]
    return ToolSpec(
        name=facts.title,
        command=(str(start),),
        port=free_port(),
        working_directory="/workspace",
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


async def create(session: SeenSession, lab: ToolSpec, what: str) -> None:
    """Create a kernel or a terminal as the page does, with the cookie's token."""
    url = f"http://127.0.0.1:{lab.port}{lab.path_prefix}"
    jar = aiohttp.CookieJar(unsafe=True)  # unsafe: cookies of an address, not a name
    inside = aiohttp.TCPConnector(socket_factory=session.socket)
    async with aiohttp.ClientSession(cookie_jar=jar, connector=inside) as browser:
        async with browser.get(f"{url}/lab") as page:
            assert page.status == 200
            token = page.cookies["_xsrf"].value
        async with browser.post(f"{url}/api/{what}", json={}) as refused:
            assert refused.status == 403, "without the token it is another site's request"
        headers = {"X-XSRFToken": token}
        async with browser.post(f"{url}/api/{what}", json={}, headers=headers) as created:
            assert created.ok, await created.text()


async def works(control_plane: FakeControlPlane, spec: SessionSpec, *, restarts: int) -> int:
    """Wait until it answers, after so many restarts; return its pid on the host."""
    found = await control_plane.reported(
        lambda report: report.phase is RunPhase.RUNNING and report.tool.restarts == restarts
    )
    assert found.tool.pid is not None
    return SeenSession(spec).host_pid(found.tool.pid)


async def test_jupyterlab_starts_is_restarted_after_kill_9_and_stops_with_its_kernels(
    place: Path, lab: ToolSpec
) -> None:
    async with serving() as control_plane:
        spec = session_spec(place, lab, url=control_plane.url, grace_seconds=20)
        async with running_agent(place, spec) as agent:
            first = await works(control_plane, spec, restarts=0)
            session = SeenSession(spec)
            await create(session, lab, "kernels")
            await until(lambda: session.running(KERNEL), what="a kernel runs")
            os.kill(first, signal.SIGKILL)
            second = await works(control_plane, spec, restarts=1)
            await create(session, lab, "kernels")
            await until(lambda: session.running(KERNEL), what="a kernel runs")
            agent.signal(signal.SIGTERM)
            assert await agent.exit_code() == 0, agent.log()
        assert session.pids() == []
        assert not lives(second)
        assert control_plane.reports[-1].phase is RunPhase.STOPPED
        log = (place / "state" / "tool.log").read_text()
        assert log.count("jupyterlab | extension was successfully loaded") == 2
        for lost in ("failed loading", 'Traceback (most recent call last):\n  File "<string>"'):
            assert lost not in log


async def test_every_server_extension_of_the_environment_is_loaded(
    place: Path, lab: ToolSpec
) -> None:
    wanted = configured_extensions()
    async with serving() as control_plane:
        spec = session_spec(place, lab, url=control_plane.url, grace_seconds=20)
        async with running_agent(place, spec) as agent:
            await control_plane.reached(RunPhase.RUNNING)
            agent.signal(signal.SIGTERM)
            await agent.exit_code()
    log = (place / "state" / "tool.log").read_text()
    loaded = set(re.findall(r"\] (\w+) \| extension was successfully loaded", log))
    assert {"jupyterlab", "jupyter_server_terminals"} <= wanted <= loaded


async def test_the_terminals_of_jupyterlab_do_not_hold_up_its_stop(
    place: Path, lab: ToolSpec
) -> None:
    """A shell at a prompt ignores SIGTERM."""
    async with serving() as control_plane:
        spec = session_spec(place, lab, url=control_plane.url, grace_seconds=600)
        control_plane.set(spec.settings)
        async with running_agent(place, spec) as agent:
            await works(control_plane, spec, restarts=0)
            session = SeenSession(spec)
            await create(session, lab, "terminals")
            await until(lambda: session.running(SHELL), what="a shell runs")
            agent.signal(signal.SIGTERM)
            assert await agent.exit_code() == 0, agent.log()
        assert session.pids() == []
