"""The fake engine and the `local` engine keep the contract; and what only `local` promises."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from common.clock import SteppingClock
from common.ids import SessionId
from common.session_spec import parse
from control_plane.engines import launch
from control_plane.engines.engine import Alive, EngineRefusedError, Gone
from control_plane.engines.fake import FakeEngine
from control_plane.engines.local import LocalEngine
from tests.control_plane.core.engine_contract import SESSION, EngineContract, gone, job_of
from tests.control_plane.core.local_rig import STAND_IN, LocalRig, exists
from tests.support.control_plane_core import spec_of
from tests.support.full_disk import SmallDisk, small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.session_spec import SessionSpec
    from control_plane.engines.engine import Job


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path, size_bytes=1024**2) as disk:
        yield disk


@pytest.fixture
def on_small_disk(disk: SmallDisk, tmp_path: Path) -> Iterator[LocalRig]:
    rig = LocalRig(tmp_path)
    yield rig
    rig.close()


class FakeRig:
    def __init__(self) -> None:
        self.clock = SteppingClock()
        self.engine = FakeEngine(self.clock)

    def spec(self, session_id: SessionId, run: int) -> SessionSpec:
        return spec_of(session_id, run, Path("/nowhere"))

    def restart(self) -> None:
        self.engine = FakeEngine(self.clock, self.engine.host)

    def deafen(self) -> None:
        self.engine.host.agents_obey = False

    async def is_up(self, job: Job) -> None:
        pass

    def crash(self, job: Job) -> None:
        self.engine.host.end(job.session_id, job.run_number)

    def living(self, session_id: SessionId) -> int:
        return len(self.engine.host.living(session_id))

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)


class TestFakeEngine(EngineContract):
    @pytest.fixture
    def rig(self) -> FakeRig:
        return FakeRig()


class TestLocalEngine(EngineContract):
    @pytest.fixture
    def rig(self, local: LocalRig) -> LocalRig:
        return local

    async def test_spec_file_is_private_and_read_once(self, local: LocalRig) -> None:
        await local.engine.submit(local.spec(SESSION, 1))
        seen = local.folder / SESSION / "seen-spec.json"
        await exists(seen)
        assert not list((local.folder / SESSION).glob("spec-*"))
        assert (local.folder / SESSION / "seen-mode").read_text() == oct(0o600)
        assert stat.S_IMODE((local.folder / SESSION).stat().st_mode) == 0o700
        spec = parse(seen.read_bytes())
        assert spec.host_state_dir == str(local.folder / SESSION)

    async def test_agent_gets_nothing_of_our_environment(
        self, local: LocalRig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STUDIOS_TOKEN", "secret")
        await local.engine.submit(local.spec(SESSION, 1))
        seen = local.folder / SESSION / "seen-environment.json"
        await exists(seen)
        environment = json.loads(seen.read_text())
        assert "STUDIOS_TOKEN" not in environment
        assert environment["PYTHONPATH"]

    async def test_each_session_gets_a_free_port_of_its_own(self, local: LocalRig) -> None:
        sessions = [SessionId(f"{number:08x}") for number in range(4)]
        for session in sessions:
            await local.engine.submit(local.spec(session, 1))
        ports = set()
        for session in sessions:
            seen = local.folder / session / "seen-spec.json"
            await exists(seen)
            ports.add(parse(seen.read_bytes()).tool.port)
        assert len(ports) == len(sessions)
        for port in ports:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))

    async def test_agent_is_nobodys_child_and_leads_a_session(self, local: LocalRig) -> None:
        await local.engine.submit(local.spec(SESSION, 1))
        pid = local.pid(SESSION)
        assert psutil.Process(pid).ppid() != os.getpid()
        assert os.getsid(pid) == pid

    async def test_launch_that_finishes_after_the_control_plane_died_is_known(
        self, local: LocalRig
    ) -> None:
        # the control plane is killed after starting the launcher: nobody waits for it
        folder = local.folder / SESSION
        folder.mkdir()
        (folder / "spec-1-aa").write_bytes(b"{}")
        await _launch(folder, 1)
        local.restart()
        assert isinstance(await local.engine.observe(job_of(1)), Alive)
        await local.engine.submit(local.spec(SESSION, 1))
        assert local.living(SESSION) == 1

    async def test_launcher_later_than_gone_gives_up(self, local: LocalRig) -> None:
        folder = local.folder / SESSION
        folder.mkdir()
        assert isinstance(await local.engine.observe(job_of(1)), Gone)
        assert await _launch(folder, 1) == launch.OVER
        assert local.living(SESSION) == 0

    async def test_pid_of_another_process_is_not_taken_for_the_agent(self, local: LocalRig) -> None:
        job = await local.engine.submit(local.spec(SESSION, 1))
        stranger = await asyncio.create_subprocess_exec("sleep", "600")
        path = local.folder / SESSION / "job.json"
        record = json.loads(path.read_text())
        os.kill(record["pid"], signal.SIGKILL)
        record["pid"] = stranger.pid  # as if the kernel had given the number away
        path.write_text(json.dumps(record))
        await local.engine.stop(job, grace_seconds=0)
        await gone(local, job)
        assert stranger.returncode is None
        stranger.kill()
        assert await stranger.wait() == -signal.SIGKILL

    async def test_job_of_another_boot_is_gone(self, local: LocalRig) -> None:
        job = await local.engine.submit(local.spec(SESSION, 1))
        os.kill(local.pid(SESSION), signal.SIGKILL)
        path = local.folder / SESSION / "job.json"
        record = json.loads(path.read_text()) | {"boot_id": "another"}
        path.write_text(json.dumps(record))
        assert await local.engine.observe(job) == Gone("the machine was restarted")

    async def test_torn_record_is_not_fatal(self, local: LocalRig) -> None:
        folder = local.folder / SESSION
        folder.mkdir()
        (folder / "job.json").write_text('{"run": 1, ')
        assert isinstance(await local.engine.observe(job_of(1)), Gone)
        await local.engine.submit(local.spec(SESSION, 2))
        assert local.living(SESSION) == 1

    async def test_full_disk_keeps_no_agent_from_being_asked_to_end(
        self, on_small_disk: LocalRig, disk: SmallDisk
    ) -> None:
        job = await on_small_disk.engine.submit(on_small_disk.spec(SESSION, 1))
        await on_small_disk.is_up(job)
        disk.fill()
        await on_small_disk.engine.stop(job, grace_seconds=60)
        await gone(on_small_disk, job)

    async def test_full_disk_shortens_no_grace_and_prolongs_none(
        self, on_small_disk: LocalRig, disk: SmallDisk
    ) -> None:
        on_small_disk.deafen()
        job = await on_small_disk.engine.submit(on_small_disk.spec(SESSION, 1))
        await on_small_disk.is_up(job)
        disk.fill()
        await on_small_disk.engine.stop(job, grace_seconds=60)
        await on_small_disk.advance(59)
        await on_small_disk.engine.stop(job, grace_seconds=60)
        assert isinstance(await on_small_disk.engine.observe(job), Alive)
        await on_small_disk.advance(1)
        await on_small_disk.engine.stop(job, grace_seconds=60)
        await gone(on_small_disk, job)

    async def test_full_disk_keeps_no_run_that_is_over_from_being_gone(
        self, on_small_disk: LocalRig, disk: SmallDisk
    ) -> None:
        job = await on_small_disk.engine.submit(on_small_disk.spec(SESSION, 1))
        await on_small_disk.is_up(job)
        (on_small_disk.session / "session.pid").unlink()  # removing it would make room
        disk.fill()
        on_small_disk.crash(job)
        await gone(on_small_disk, job)

    async def test_gone_is_not_said_of_a_run_that_a_full_disk_could_let_begin(
        self, on_small_disk: LocalRig, disk: SmallDisk
    ) -> None:
        on_small_disk.session.mkdir()
        disk.fill()
        assert not isinstance(await on_small_disk.engine.observe(job_of(1)), Gone)
        disk.free()
        assert isinstance(await on_small_disk.engine.observe(job_of(1)), Gone)

    async def test_agent_that_can_not_be_started_is_refused(self, local: LocalRig) -> None:
        engine = LocalEngine(local.folder, local.clock, agent_command=("/nowhere/python",))
        with pytest.raises(EngineRefusedError, match="No such file"):
            await engine.submit(local.spec(SESSION, 1))
        while not isinstance(await engine.observe(job_of(1)), Gone):
            await asyncio.sleep(0.01)  # it has said that it can't, and is about to end


async def _launch(folder: Path, run: int) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-S", launch.__file__, str(folder), str(run), "20000"),
        *(sys.executable, "-I", "-S", str(STAND_IN), "--spec-file", str(folder / "spec-1-aa")),
    )
    return await process.wait()
