"""Whole sessions for tests: `python -m agent` on a real volume and root, and a shell in it.

A `Studio` is what outlives a run: its folder on this host. Each of its runs is an `AgentRun`, an
agent process with a fake control plane of its own, whose tool is a shell: see `session_shell`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from agent.session_record import SessionRecord
from agent.volume.loop_volume import IMAGE_NAME
from common.ids import SessionId
from common.messages import RunPhase, StepState
from common.session_spec import RootSpec, ToolSpec, VolumeLimits
from common.wire import decode, encode
from tests.support import session_shell
from tests.support.agent_rig import ROOT, session_spec, until
from tests.support.fake_control_plane import serving
from tests.support.hung_link import hung_link
from tests.support.seen_session import cgroups_of, left_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from common.messages import StatusReport
    from common.session_spec import SessionSpec
    from tests.support.fake_control_plane import FakeControlPlane
    from tests.support.hung_link import HungLink
    from tests.support.session_shell import Result

MB = 1024**2
SMALL = VolumeLimits(
    initial_bytes=256 * MB, free_bytes_min=64 * MB, step_bytes=128 * MB, limit_bytes=640 * MB
)
GRACE_SECONDS = 1.0
END_SECONDS_MAX = 90.0  # of an agent that has been told to end; only bounds a failing test
_PORT = 8000  # of the session's own loopback


class Studio:
    """A Studio's folder on this host. Use it in a `with`: afterwards nothing of it is left."""

    def __init__(
        self, *, volume: VolumeLimits = SMALL, grace_seconds: float = GRACE_SECONDS
    ) -> None:
        self.session_id = SessionId(secrets.token_hex(4))
        # What lies in /tmp is not seen from within a session, and the tool must be.
        self.folder = Path(tempfile.mkdtemp(prefix="studios-test-session-", dir="/var/lib"))
        self.state = self.folder / "state"
        self.volume = volume
        self.grace_seconds = grace_seconds
        self.carried: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        (self.folder / "tool.py").write_text(session_shell.TOOL, encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self.state.is_mount():
                # Whoever made mounts of their own meanwhile has a copy of this one: empty it first.
                for path in self.state.iterdir():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                subprocess.run(["umount", "--lazy", str(self.state)], check=True)
            for cgroup in cgroups_of(self.session_id):  # a killed agent leaves them, empty
                cgroup.rmdir()
        finally:
            shutil.rmtree(self.folder)

    def put_on_disk(self, size_bytes: int) -> None:
        """Have the folder that outlives the agent on a disk of its own, in memory.

        Called again, the disk has another size.
        """
        options = f"size={size_bytes}"
        if self.state.is_mount():
            options += ",remount"
        self.state.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "studios-test", str(self.state)]
        subprocess.run(command, check=True)

    def fill_disk(self, *, leave_bytes: int = 0) -> Path:
        """Have others use all of that disk but so much; return their file."""
        others = self.state / "others"
        facts = os.statvfs(self.state)
        with others.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, facts.f_bavail * facts.f_frsize - leave_bytes)
        return others

    @property
    def image(self) -> Path:
        return self.state / IMAGE_NAME

    @property
    def mounts(self) -> Path:
        """Where the session's root is mounted, in the agent's own mount namespace."""
        return self.state / "mounts"

    def first_process(self) -> int | None:
        """Return the pid that the agent has noted; None while there is no note."""
        try:
            return decode((self.state / "session.pid").read_bytes(), SessionRecord).pid
        except FileNotFoundError:
            return None

    def remains(self) -> list[str]:
        """Return what is mounted, attached or running of it, in any namespace."""
        places = (self.state / "volume", self.mounts, self.image)
        return [line for place in places for line in left_of(place)]

    async def nothing_remains(self) -> None:
        """Wait for the kernel to have taken away what a killed agent had."""
        await until(lambda: not self.remains(), what="the end of all that a killed agent had")

    def assert_left_in_order(self) -> None:
        """Fail if an agent that has ended in order has left anything but files."""
        assert self.remains() == []
        assert cgroups_of(self.session_id) == []
        assert self.first_process() is None

    def image_bytes(self) -> int:
        return self.image.stat().st_size

    def check_image(self) -> None:
        """Have all of the volume's file system looked at, by what mounts nothing."""
        command = ["btrfs", "check", str(self.image)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def spec(self, *, url: str) -> SessionSpec:
        tool = ToolSpec(
            name="Shell",
            command=("/usr/bin/python3", str(self.folder / "tool.py")),
            port=_PORT,
            working_directory="/workspace",
            readiness_timeout_seconds=30.0,
        )
        return msgspec.structs.replace(
            session_spec(self.folder, tool, url=url, grace_seconds=self.grace_seconds),
            session_id=self.session_id,
            host_state_dir=str(self.state),
            root=RootSpec(image="host", carried=self.carried),
            volume=self.volume,
        )

    @contextlib.asynccontextmanager
    async def agent(self, *, through: Sequence[str] = ()) -> AsyncIterator[AgentRun]:
        """Start an agent, by the command `through`; it is killed if the test left it running."""
        async with serving() as control_plane:
            spec = self.spec(url=control_plane.url)
            control_plane.wished = msgspec.structs.replace(
                control_plane.wished, settings=spec.settings, run_number=spec.run_number
            )
            path = self.folder / f"spec-{secrets.token_hex(4)}.json"
            path.touch(mode=0o600)
            path.write_bytes(encode(spec))
            with (self.folder / "agent.log").open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *through,
                    *(sys.executable, "-m", "agent", "--spec-file", str(path)),
                    cwd=ROOT,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            run = AgentRun(self, process, control_plane)
            try:
                yield run
            finally:
                await run.kill()

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[AgentRun]:
        """Start an agent and wait for its tool to answer."""
        async with self.agent() as run:
            await run.running()
            yield run

    def log(self) -> str:
        return (self.folder / "agent.log").read_text()


class AgentRun:
    """A running agent."""

    def __init__(
        self, studio: Studio, process: asyncio.subprocess.Process, control_plane: FakeControlPlane
    ) -> None:
        self.studio = studio
        self.control_plane = control_plane
        self.pid = process.pid
        self._process = process

    # ── Its life ─────────────────────────────────────────────────────────────

    async def running(self) -> StatusReport:
        """Wait until its tool answers; fail with what it says if that never happens."""
        over = {RunPhase.FAILED, RunPhase.STOPPED}
        report = await self.control_plane.reported(
            lambda report: report.phase in {RunPhase.RUNNING, *over}
        )
        assert report.phase is RunPhase.RUNNING, f"{report.message}\n{self.studio.log()}"
        return report

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    async def ended(self) -> StatusReport:
        """Wait for its end; return its last report."""
        async with asyncio.timeout(END_SECONDS_MAX):
            await self._process.wait()
        return self.control_plane.reports[-1]

    async def stop(self) -> StatusReport:
        """End it in order; return its last report, which says so."""
        self.terminate()
        report = await self.ended()
        assert self._process.returncode == 0, self.studio.log()
        assert report.phase is RunPhase.STOPPED
        return report

    async def kill(self) -> None:
        """End it by SIGKILL. What it leaves behind is on its way out then."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    def lives(self) -> bool:
        return self._process.returncode is None

    # ── Its session ──────────────────────────────────────────────────────────

    @property
    def files(self) -> Path:
        """The session's root, as its programs see it."""
        return Path(f"/proc/{self._first_process()}/root")

    def follow(self, script: str) -> AsyncIterator[str]:
        """Run a shell script in the session; see `session_shell`."""
        return session_shell.follow(self.files, script)

    async def sh(self, script: str) -> Result:
        """Run a shell script in the session to its end."""
        return await session_shell.run(self.files, script)

    async def out(self, script: str) -> str:
        """Run a shell script that must succeed; return what it prints."""
        result = await self.sh(script)
        assert result.code == 0, result
        return result.output.strip()

    def processes(self) -> list[int]:
        """Return the host's pids of what runs in the session, its first process aside."""
        return sorted(
            {
                int(pid)
                for cgroup in cgroups_of(self.studio.session_id)
                for pid in (cgroup / "cgroup.procs").read_text().split()
            }
        )

    def _first_process(self) -> int:
        pid = self.studio.first_process()
        assert pid is not None, "the session has not been made"
        return pid

    # ── What the agent's own mounts are ──────────────────────────────────────

    @contextlib.contextmanager
    def hung_link(self, path: str) -> Iterator[HungLink]:
        """Mount a data link that never answers a read at `path` of the session, which exists.

        As the agent mounts data links: below the session's root, in the agent's mount namespace.
        """
        folder = self.studio.mounts / "root" / path.removeprefix("/")
        with hung_link(folder, within=("nsenter", f"--target={self.pid}", "--mount")) as link:
            yield link


def steps_of(report: StatusReport) -> list[tuple[str, StepState]]:
    return [(step.name, step.state) for step in report.stop_steps]


IN_ORDER = [
    (name, StepState.SUCCEEDED)
    for name in (
        *("no new requests", "stop the tool", "end the session", "save the files"),
        "unmount the volume",
    )
]
"""The documented order, all of it done within its limits."""
FORCED = [
    (name, StepState.ERRORED if name == "save the files" else state) for name, state in IN_ORDER
]
"""The same by force: the files are not saved, which is told."""
