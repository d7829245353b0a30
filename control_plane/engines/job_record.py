"""The file `job.json`: what is known of a session's newest run and its agent.

Written under a lock, by `launch` before there is an agent, and by the engine ever after.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from control_plane.engines import launch, one_process

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator
    from pathlib import Path


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The content. `launch.become` writes the same names."""

    run: int
    pid: int = 0
    start_ticks: int | None = None
    boot_id: str = ""
    port: int = 0
    ended: str | None = None
    """Why it is over; None while it may be alive."""
    stop_asked_at: float | None = None
    """When the agent was first asked to end; monotonic time, which counts from boot."""

    @property
    def has_begun(self) -> bool:
        """Whether there was an agent of this run."""
        return self.pid != 0

    @property
    def is_alive(self) -> bool:
        """Whether the recorded agent runs."""
        return launch.is_alive(msgspec.structs.asdict(self))

    @property
    def is_of_this_boot(self) -> bool:
        return self.boot_id == launch.boot_id()

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the recorded agent and nobody else."""
        if self.is_of_this_boot:
            one_process.send_signal(self.pid, self.start_ticks, number)


def read(folder: Path) -> JobRecord | None:
    """Return the record; None if there is none, or a power cut left none that can be read."""
    job = launch.read_job(str(folder))
    return None if job is None else msgspec.convert(job, JobRecord)


def write(folder: Path, record: JobRecord) -> None:
    """Replace it, durably; the caller holds the lock."""
    launch.write_job(str(folder), msgspec.to_builtins(record))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the record: nobody writes it but the block."""
    descriptor = launch.lock(str(folder))
    try:
        yield
    finally:
        os.close(descriptor)
