"""The files that a Studio of version 0.1 had arrive in its volume, whatever comes in between."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from agent.earlier_files import CannotImportError, bring_in
from common.messages import RunPhase
from common.session_spec import VolumeLimits
from tests.support.agent_rig import (
    SMALL_VOLUME,
    lives,
    pid_in,
    running_agent,
    session_spec,
    session_tool,
    until,
)
from tests.support.fake_control_plane import FakeControlPlane, serving
from tests.support.seen_session import SeenSession, left_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from common.session_spec import SessionSpec

LONG_AGO_NS = 1_234_567_890_123_456_789
MB = 1024**2
KEPT = "workspace.before-volumes"
TIGHT = msgspec.structs.replace(SMALL_VOLUME, limit_bytes=SMALL_VOLUME.initial_bytes)
ROOMY = VolumeLimits(
    initial_bytes=512 * MB, free_bytes_min=256 * MB, step_bytes=256 * MB, limit_bytes=2048 * MB
)
"""With time to grow before a copy at full speed has filled it."""


def fill(workspace: Path) -> None:
    """Make a folder with some of everything."""
    workspace.mkdir()
    (workspace / "notebook.ipynb").write_text("{}")
    (workspace / ".hidden").write_text("too")
    (workspace / "na\udcffme").write_text("not UTF-8")
    (workspace / "empty").mkdir(mode=0o700)
    deep = workspace / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "secret").write_text("x")
    (deep / "secret").chmod(0o4710)
    os.chown(deep / "secret", 1234, 4321)
    os.link(deep / "secret", workspace / "same")
    (workspace / "link").symlink_to("a/b/secret")
    (workspace / "dangling").symlink_to("/nowhere")
    os.mkfifo(workspace / "pipe")
    with (workspace / "sparse").open("wb") as file:
        file.truncate(10 * MB)
    for folder, names, files in os.walk(workspace, topdown=False):
        for name in (*names, *files):
            os.utime(os.path.join(folder, name), ns=(0, LONG_AGO_NS), follow_symlinks=False)
    os.utime(workspace, ns=(0, LONG_AGO_NS))


def inventory(root: Path) -> dict[str, tuple[object, ...]]:
    """Return all that is in a folder, with what is to be kept of it."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, names, files in os.walk(root):
        for name in (*names, *files, "."):
            path = os.path.join(folder, name)
            facts = os.lstat(path)
            mode = facts.st_mode
            content = os.readlink(path) if stat.S_ISLNK(mode) else None
            if stat.S_ISREG(mode):
                with open(path, "rb") as file:
                    content = str(hash(file.read()))
            links = 0 if stat.S_ISDIR(mode) else facts.st_nlink
            found[os.path.relpath(path, root)] = (
                *(mode, facts.st_uid, facts.st_gid, facts.st_mtime_ns, links),
                stat.S_ISREG(mode) and facts.st_blocks == 0,  # nothing but a hole
                content,
            )
    return found


def write_large(workspace: Path, count: int) -> None:
    """Make files of 100 MB."""
    workspace.mkdir()
    for number in range(count):
        (workspace / f"large-{number}").write_bytes(bytes([number + 1]) * 100 * MB)


def ends(workspace: Path) -> dict[str, tuple[int, bytes]]:
    """Return size and last byte of each of them: to read it all takes seconds."""
    found = {}
    for path in workspace.iterdir():
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            found[path.name] = (path.stat().st_size, file.read())
    return found


# ── The copy ─────────────────────────────────────────────────────────────────


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    fill(tmp_path / "workspace")
    return tmp_path / "workspace"


@pytest.fixture
def slow_copier(tmp_path: Path) -> Path:
    """A folder for PATH, with a `cp` that tells its pid, copies something, and never ends."""
    folder = tmp_path / "slow"
    folder.mkdir()
    script = folder / "cp"
    script.write_text(
        "#!/bin/sh\n"
        "for target; do :; done\n"
        'echo half > "$target/notebook.ipynb"\n'
        f"echo $$ > {folder}/pid.new; mv {folder}/pid.new {folder}/pid\n"
        "exec sleep 600\n"
    )
    script.chmod(0o755)
    return folder


async def test_everything_arrives_as_it_was_and_stays_under_another_name(
    earlier: Path, tmp_path: Path
) -> None:
    before = inventory(earlier)
    await bring_in(earlier, tmp_path / "upper" / "workspace")
    assert inventory(tmp_path / "upper" / "workspace") == before
    assert "workspace" not in os.listdir(tmp_path)
    assert inventory(tmp_path / KEPT) == before


async def test_a_copy_that_was_cancelled_is_made_again(
    earlier: Path, tmp_path: Path, slow_copier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = inventory(earlier)
    with monkeypatch.context() as slow:
        slow.setenv("PATH", f"{slow_copier}:/usr/bin:/bin")
        async with asyncio.TaskGroup() as group:
            copying = group.create_task(bring_in(earlier, tmp_path / "new"))
            copier = await pid_in(slow_copier / "pid")
            copying.cancel()
    assert not lives(copier)
    assert inventory(earlier) == before
    assert (tmp_path / "new" / "notebook.ipynb").read_text() == "half\n"
    await bring_in(earlier, tmp_path / "new")
    assert inventory(tmp_path / "new") == before


async def test_a_copy_that_is_refused_is_a_sentence_and_nothing_is_lost(
    earlier: Path, tmp_path: Path
) -> None:
    before = inventory(earlier)
    (tmp_path / "new" / "notebook.ipynb").mkdir(parents=True)
    with pytest.raises(CannotImportError) as refused:
        await bring_in(earlier, tmp_path / "new")
    assert str(refused.value).startswith(f"the files that this Studio had in {earlier} can't be")
    assert "notebook.ipynb" in str(refused.value)
    assert inventory(earlier) == before


async def test_a_program_that_fails_without_a_word_is_an_error_too(
    earlier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "cp").symlink_to("/bin/false")
    before = inventory(earlier)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    with pytest.raises(CannotImportError, match="exit code 1"):
        await bring_in(earlier, tmp_path / "new")
    assert inventory(earlier) == before


# ── Into a session ───────────────────────────────────────────────────────────


@asynccontextmanager
async def wanted(
    place: Path, volume: VolumeLimits = SMALL_VOLUME
) -> AsyncIterator[tuple[FakeControlPlane, SessionSpec]]:
    async with serving() as control_plane:
        tool = session_tool(place, "serve()")
        spec = session_spec(place, tool, url=control_plane.url, grace_seconds=5)
        (place / "state").mkdir(mode=0o700, exist_ok=True)
        yield control_plane, msgspec.structs.replace(spec, volume=volume)


async def test_what_a_studio_had_is_in_its_session_from_the_first_run_on(place: Path) -> None:
    async with wanted(place) as (control_plane, spec):
        fill(place / "state" / "workspace")
        before = inventory(place / "state" / "workspace")
        for _ in range(2):
            control_plane.reports.clear()
            async with running_agent(place, spec) as agent:
                await control_plane.reached(RunPhase.RUNNING)
                assert inventory(SeenSession(spec).path("/workspace")) == before
                agent.signal(signal.SIGTERM)
                assert await agent.exit_code() == 0, agent.log()
    assert inventory(place / "state" / KEPT) == before


async def test_more_than_the_volume_holds_at_first_makes_it_grow(place: Path) -> None:
    async with wanted(place, ROOMY) as (control_plane, spec):
        write_large(place / "state" / "workspace", 6)
        before = ends(place / "state" / "workspace")
        async with running_agent(place, spec) as agent:
            running = await control_plane.reached(RunPhase.RUNNING)
            assert ends(SeenSession(spec).path("/workspace")) == before
            agent.signal(signal.SIGTERM)
            assert await agent.exit_code() == 0, agent.log()
    assert running.volume is not None
    assert running.volume.size_bytes > 600 * MB > ROOMY.initial_bytes


async def test_more_than_the_volume_may_hold_is_said_and_arrives_once_it_may_hold_more(
    place: Path,
) -> None:
    async with wanted(place, TIGHT) as (control_plane, spec):
        write_large(place / "state" / "workspace", 3)
        before = ends(place / "state" / "workspace")
        async with running_agent(place, spec) as agent:
            assert await agent.exit_code() == 1, agent.log()
        last = control_plane.reports[-1]
        assert last.phase is RunPhase.FAILED
        assert last.message.startswith("The session can't be made: the files that this Studio had")
        assert "No space left on device" in last.message
        assert ends(place / "state" / "workspace") == before
        assert left_of(place) == []
        control_plane.reports.clear()
        wider = msgspec.structs.replace(spec, volume=ROOMY)
        async with running_agent(place, wider) as agent:
            await control_plane.reached(RunPhase.RUNNING)
            assert ends(SeenSession(spec).path("/workspace")) == before
            agent.signal(signal.SIGTERM)
            assert await agent.exit_code() == 0, agent.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_copy_that_ended_with_its_agent_is_made_again_by_the_next(
    place: Path, slow_copier: Path, number: signal.Signals
) -> None:
    async with wanted(place) as (control_plane, spec):
        fill(place / "state" / "workspace")
        before = inventory(place / "state" / "workspace")
        async with running_agent(place, spec, PATH=f"{slow_copier}:{os.environ['PATH']}") as agent:
            copier = await pid_in(slow_copier / "pid")
            agent.signal(number)
            await agent.exit_code()
        await until(lambda: not lives(copier), what="the copying has ended")
        await until(lambda: not left_of(place), what="nothing is mounted or attached")
        assert inventory(place / "state" / "workspace") == before
        async with running_agent(place, spec) as agent:
            await control_plane.reached(RunPhase.RUNNING)
            assert inventory(SeenSession(spec).path("/workspace")) == before
            agent.signal(signal.SIGTERM)
            assert await agent.exit_code() == 0, agent.log()
