"""The embedded engine: each run's agent is a process of this host.

An agent is started by `launch`, detached, so that it outlives the control plane. What is known of
it, and what it keeps, lies in the session's folder:

| file          | content                                                                     |
|---------------|-----------------------------------------------------------------------------|
| `job.json`    | newest run, its agent's pid, start time and boot, tool port, how it ended   |
| `job.lock`    | held by whoever writes `job.json`                                           |
| `spec-…`      | the session spec, 0600, until the agent has read it                         |
| `session.pid` | the agent's note of the session's first process, see `first_process`        |
| `studios-volume.btrfs` | the session's volume, attached while an agent lives                |
| `tool.log`    | what the tool prints, by the agent                                          |
| `agent.log`   | what the agent prints                                                       |

The session's image is this machine's own `/`; `host_folders` says what of it no session sees.

A run that `observe` finds over, or that was never started, is marked as ended before Gone is
answered. So a launcher still on its way from a control plane that was killed finds the mark and
gives up: Gone stays true.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import signal
import socket
import sys
from typing import TYPE_CHECKING

import msgspec

from common.session_spec import RootSpec
from common.wire import encode
from control_plane.engines import job_record, launch
from control_plane.engines.engine import (
    Alive,
    EngineRefusedError,
    EngineUnavailableError,
    Gone,
    Job,
    JobState,
    Unknown,
)
from control_plane.engines.first_process import end_first_process, remove_note
from control_plane.engines.host_folders import (
    PROJECT,
    hiding,
    program_folders,
    real_paths,
    work_folder,
)
from control_plane.engines.job_record import JobRecord
from control_plane.engines.log_file import read_end
from control_plane.engines.session_folder import CannotDeleteError, delete

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from common.clock import Clock
    from common.ids import RunNumber, SessionId
    from common.session_spec import SessionSpec

TOOL_PORTS = range(20000, 30000)
"""Below the range from which the kernel takes ports for outgoing connections.

A session has a network of its own, where any port is free. Each gets another one all the same:
where no network can be made for it, it shares this machine's, and two tools would meet."""
_PORT_TRIES_MAX = 100
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
LAUNCH_SECONDS_MAX = 20.0
"""A launcher needs milliseconds; on a machine that swaps, some seconds."""

_MINIMUM_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONPATH": str(PROJECT),
}


class LocalEngine:
    """See the module. `agent_command` is followed by `--spec-file PATH`."""

    def __init__(
        self,
        sessions_dir: Path,
        clock: Clock,
        *,
        hidden: Iterable[Path] = (),
        carried: Iterable[Path] = (),
        agent_command: Sequence[str] = (sys.executable, "-m", "agent"),
        environment: Mapping[str, str] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Keep each session's folder below `sessions_dir`.

        Sessions see nothing of that, of `hidden`, of this program, of a work directory on this
        machine; of what is mounted here they see `carried`. The agents' environment is
        `environment` over a minimum, never this process's own, which may hold credentials.
        """
        self._sessions_dir = sessions_dir
        self._hidden = (sessions_dir, *hidden, *program_folders())
        self._carried = real_paths(carried)
        self._clock = clock
        self._agent_command = tuple(agent_command)
        self._environment = {**_MINIMUM_ENVIRONMENT, **(environment or {})}
        self._rng = rng or random.Random()
        self._launching = asyncio.Lock()  # between choosing a port and recording it
        self._asked_at: dict[Job, float] = {}
        """When those agents were first asked to end for whom the disk had no room for that. Lost
        with this process: the next one asks once more, which an agent takes for force."""

    async def submit(self, spec: SessionSpec) -> Job:
        """Start the agent, unless this run has or had one; see `Engine`."""
        folder = self._folder(spec.session_id)
        async with self._launching:
            try:
                spec_file, port = await asyncio.to_thread(self._prepare, folder, spec)
                try:
                    code, reason = await self._launch(folder, spec.run_number, port, spec_file)
                finally:
                    record = await asyncio.to_thread(job_record.read, folder)
                    if record is None or record.port != port:
                        spec_file.unlink(missing_ok=True)  # nobody will read it
            except OSError as error:
                raise EngineUnavailableError(
                    f"The session can't be started here: {error}"
                ) from None
        if code == launch.OTHER_LIVES:
            raise EngineUnavailableError("The previous run has not ended yet.")
        if code not in {0, launch.OVER}:
            raise EngineRefusedError(f"The agent can't be started: {reason}")
        return Job(session_id=spec.session_id, run_number=spec.run_number)

    async def observe(self, job: Job) -> JobState:
        """Look at the process; see `Engine`."""
        try:
            return await asyncio.to_thread(self._observe, job)
        except OSError as error:
            return Unknown(f"The session's folder can't be read: {error}")

    async def stop(self, job: Job, *, grace_seconds: float) -> None:
        """Send SIGTERM once, then SIGKILL; see `Engine`."""
        try:
            await asyncio.to_thread(self._stop, job, grace_seconds)
        except OSError as error:
            raise EngineUnavailableError(f"The session can't be stopped: {error}") from None

    async def forget(self, session_id: SessionId) -> None:
        """Remove the session's folder; see `Engine`."""
        folder = self._folder(session_id)
        try:
            if await asyncio.to_thread(_lives, folder):
                raise EngineUnavailableError("The session has not ended yet.")
            await delete(folder)
        except OSError as error:
            raise EngineUnavailableError(f"The session's folder can't be read: {error}") from None
        except CannotDeleteError as error:
            raise EngineUnavailableError(str(error)) from None

    async def log(self, session_id: SessionId, *, tail: int) -> str | None:
        """Read the tool's log; see `KeepsLogs`."""
        path = self._folder(session_id) / "tool.log"
        return await asyncio.to_thread(read_end, path, tail=tail)

    # ── In a thread ──────────────────────────────────────────────────────────

    def _prepare(self, folder: Path, spec: SessionSpec) -> tuple[Path, int]:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        record = job_record.read(folder)
        if record is not None and not record.is_alive:
            if _first_process_lives(folder, record):
                raise EngineUnavailableError("The previous run has not ended yet.")
            for unread in folder.glob(f"spec-{record.run}-*"):
                unread.unlink()
        port = self._free_port()
        spec = msgspec.structs.replace(
            spec,
            tool=msgspec.structs.replace(spec.tool, port=port),
            host_state_dir=str(folder),
            root=self._root(spec),
        )
        path = folder / f"spec-{spec.run_number}-{self._rng.getrandbits(64):016x}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(encode(spec))
        return path, port

    def _root(self, spec: SessionSpec) -> RootSpec:
        work = work_folder(spec.work_directory.url)
        hidden = real_paths((*self._hidden, *(() if work is None else (work,))))
        program = spec.tool.command[0]
        if os.path.isabs(program) and (folder := hiding(program, hidden)):
            raise EngineRefusedError(
                f"Sessions can't see {folder}, so {program} can't be started in one: "
                "install the tool elsewhere, or keep the platform's folders elsewhere."
            )
        return RootSpec(image="host", hidden=hidden, carried=self._carried)

    def _free_port(self) -> int:
        taken = {
            record.port
            for folder in self._sessions_dir.iterdir()
            if (record := job_record.read(folder)) is not None and record.is_alive
        }
        free = self._rng.sample([port for port in TOOL_PORTS if port not in taken], _PORT_TRIES_MAX)
        return next((port for port in free if _can_bind(port)), free[0])

    def _observe(self, job: Job) -> JobState:
        folder = self._folder(job.session_id)
        record = job_record.read(folder)
        if record is not None and record.run > job.run_number:
            return Gone("a newer run was started")
        if record is not None and not record.is_alive and _first_process_lives(folder, record):
            return Unknown("the agent has ended, its session is being ended")
        if record is not None and record.run == job.run_number:
            if record.is_alive:
                return Alive()
            if record.ended is not None:
                return Gone(record.ended)
        return self._close(folder, job.run_number)

    def _close(self, folder: Path, run: RunNumber) -> JobState:
        """Mark the run as over, so that it can't begin any more."""
        if not folder.exists():
            return Gone("nothing is kept of it")
        with job_record.locked(folder):
            record = job_record.read(folder)
            if record is not None and record.is_alive:  # it began meanwhile
                return Alive() if record.run == run else Unknown("another run is alive")
            if record is None or record.run < run:
                record = JobRecord(run=run, ended="it was never started")
            else:
                record = msgspec.structs.replace(record, ended=_how_it_ended(record))
            remove_note(folder)
            try:
                job_record.write(folder, record)
            except OSError as error:
                # The mark is for a launcher that has not begun: one that has is never let again.
                if error.errno not in _DISK_FULL or not record.has_begun:
                    raise
        return Gone(record.ended or "")

    def _stop(self, job: Job, grace_seconds: float) -> None:
        folder = self._folder(job.session_id)
        record = job_record.read(folder)
        if record is None or record.run != job.run_number or not record.is_alive:
            return
        now = self._clock.monotonic()
        asked = self._asked_at.get(job, record.stop_asked_at)
        if asked is not None and asked > now:
            asked = now  # another clock than the one that wrote it
        if grace_seconds <= 0 or (asked is not None and now - asked >= grace_seconds):
            record.send_signal(signal.SIGKILL)
        elif asked is None:
            # written first: a second SIGTERM means "by force" to the agent, a lost one only costs
            # the grace
            with job_record.locked(folder):
                try:
                    job_record.write(folder, msgspec.structs.replace(record, stop_asked_at=now))
                except OSError as error:
                    if error.errno not in _DISK_FULL:
                        raise
                    self._asked_at[job] = now
            record.send_signal(signal.SIGTERM)

    # ── The launcher ─────────────────────────────────────────────────────────

    async def _launch(
        self, folder: Path, run: RunNumber, port: int, spec_file: Path
    ) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-S", launch.__file__, str(folder), str(run), str(port)),
            *self._agent_command,
            *("--spec-file", str(spec_file)),
            cwd=folder,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(LAUNCH_SECONDS_MAX):
                _, stderr = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise EngineUnavailableError("Starting the agent takes too long here.") from None
        return process.returncode or 0, stderr.decode(errors="replace").strip()

    def _folder(self, session_id: SessionId) -> Path:
        return self._sessions_dir / session_id


def _lives(folder: Path) -> bool:
    record = job_record.read(folder)
    return record is not None and (record.is_alive or _first_process_lives(folder, record))


def _first_process_lives(folder: Path, record: JobRecord) -> bool:
    """Say whether a dead agent's session lives on; if so, it has been told to end."""
    return record.is_of_this_boot and end_first_process(folder)


def _how_it_ended(record: JobRecord) -> str:
    if not record.is_of_this_boot:
        return "the machine was restarted"
    return "the agent's process has ended"


def _can_bind(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
