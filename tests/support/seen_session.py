"""A session as this machine sees it from outside, and what is left of one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from agent.root.namespaces import socket_within
from agent.session_record import SessionRecord
from common.wire import decode
from tests.support.waiting import until

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from common.ids import SessionId
    from common.session_spec import SessionSpec

_CGROUPS = Path("/sys/fs/cgroup")


class SeenSession:
    """A session that lives now, seen through its first process."""

    def __init__(self, spec: SessionSpec) -> None:
        """Its agent has reported that it runs."""
        note = decode(Path(spec.host_state_dir, "session.pid").read_bytes(), SessionRecord)
        self.first_pid = note.pid
        path = f"/proc/{note.pid}/ns/pid"
        self._pid_namespace = os.readlink(path)
        # While it is open no other session, of a test beside this one, gets its number.
        weakref.finalize(self, os.close, os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def path(self, inside: str) -> Path:
        """Return where the host finds what the session calls `inside`. Not across links."""
        return Path(f"/proc/{self.first_pid}/root{inside}")

    def pids(self) -> list[int]:
        """Return the host's pids of all that live in it, the first process included."""
        return [pid for pid in psutil.pids() if self._holds(pid)]

    def running(self, argument: bytes) -> list[int]:
        """Return the host's pids of what lives in it and has this among its arguments."""
        return [pid for pid in self.pids() if argument in _arguments(pid)]

    def host_pid(self, inside: int) -> int:
        """Return the host's pid of the process that the session calls `inside`."""
        found = [pid for pid in self.pids() if _innermost_pid(pid) == inside]
        assert len(found) == 1, f"process {inside} of the session: {found}"
        return found[0]

    def socket(self, address_info: object = None) -> socket.socket:
        """Return a new socket in its network; also usable as aiohttp's socket factory."""
        del address_info
        network = os.open(f"/proc/{self.first_pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = socket_within(network)
        finally:
            os.close(network)
        found.setblocking(False)
        return found

    def _holds(self, pid: int) -> bool:
        try:
            return os.readlink(f"/proc/{pid}/ns/pid") == self._pid_namespace
        except OSError:  # it has ended
            return False


def left_of(place: Path) -> list[str]:
    """Return mounts, in any namespace, and loop devices of sessions that live in `place`.

    A process of a session is seen by the mounts it has.
    """
    return [*_mounts(place), *_loop_devices(place)]


def end_what_is_left_of(place: Path) -> None:
    """Take away what a test that failed has left."""
    for pid in psutil.pids():
        if pid != os.getpid() and _mounts_of(pid, place):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    until(lambda: not list(_mounts(place)), what=f"no process has mounts of {place}")
    for device in _loop_devices(place):
        subprocess.run(["losetup", "--detach", f"/dev/{device.partition(':')[0]}"], check=False)


def cgroups_of(session_id: SessionId) -> list[Path]:
    """Return the session's; those of others may go while they are passed."""
    name = f"studios-{session_id}"
    return [Path(folder, name) for folder, below, _ in os.walk(_CGROUPS) if name in below]


def _mounts(place: Path) -> Iterator[str]:
    for pid in psutil.pids():
        yield from _mounts_of(pid, place)


def _mounts_of(pid: int, place: Path) -> list[str]:
    with contextlib.suppress(OSError):
        table = Path(f"/proc/{pid}/mountinfo").read_text(errors="replace")
        return [f"{pid}: {line}" for line in table.splitlines() if str(place) in line]
    return []


def _loop_devices(place: Path) -> Iterator[str]:
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            text = backing.read_text()
            if str(place) in text:
                yield f"{backing.parts[3]}: {text.strip()}"


def _arguments(pid: int) -> list[bytes]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return []


def _innermost_pid(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return None
