"""Turns itself into one run's agent; the `local` engine starts it as a program of its own.

    python -I -S launch.py FOLDER RUN PORT COMMAND…

It forks; the child records itself in FOLDER/job.json and becomes COMMAND, the parent ends once that
has happened. So the agent is nobody's child: it lives on when the control plane is killed, and
needs nobody to reap it. And because the process that will be the agent writes its own name, under a
lock, before there is an agent, no crash of the control plane can leave an agent that nobody knows,
and no repetition can start a second one.

Exit codes: 0 begun, or running already; 3 this run is over; 4 another run lives; 1 anything else,
with a sentence on standard error. Standard library only: it starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys

OVER = 3
OTHER_LIVES = 4
LOG_BYTES_MAX = 8 * 1024**2
"""A longer agent.log is set aside before the next run, replacing the one set aside before."""


def boot_id() -> str:
    """Name this boot of the machine: pids and start times mean nothing in another."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in ticks since boot; None if it doesn't run."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def lock(folder: str) -> int:
    """Return a descriptor that holds the folder's job lock until it is closed."""
    fd = os.open(f"{folder}/job.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def read_job(folder: str) -> dict[str, object] | None:
    """Return the record; None if there is none, or a power cut left none that can be read."""
    try:
        with open(f"{folder}/job.json", encoding="utf-8") as file:
            job = json.load(file)
    except (FileNotFoundError, ValueError):
        return None
    return job if isinstance(job, dict) else None


def write_job(folder: str, job: dict[str, object]) -> None:
    """Replace the record, durably; the caller holds the lock."""
    new = f"{folder}/job.json.new"
    with open(new, "w", encoding="utf-8", opener=_private) as file:
        json.dump(job, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, f"{folder}/job.json")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def is_alive(job: dict[str, object]) -> bool:
    """Say whether the recorded agent runs: the same pid, start time and boot."""
    pid = job["pid"]
    return (
        job["ended"] is None
        and job["boot_id"] == boot_id()
        and isinstance(pid, int)
        and start_ticks(pid) == job["start_ticks"]
    )


def verdict(job: dict[str, object] | None, run: int) -> int | None:
    """Return the exit code that the record calls for; None to go on and start."""
    if job is None:
        return None
    if job["run"] == run:
        return 0 if is_alive(job) else OVER
    if is_alive(job):
        return OTHER_LIVES
    recorded = job["run"]
    return OVER if isinstance(recorded, int) and recorded > run else None


def become(folder: str, run: int, port: int, command: list[str]) -> int:
    """Record this process and become the agent; returns an exit code only if it doesn't."""
    lock(folder)  # held until exec closes it
    code = verdict(read_job(folder), run)
    if code is not None:
        return code
    os.setsid()
    pid = os.getpid()
    job: dict[str, object] = {
        "run": run,
        "pid": pid,
        "start_ticks": start_ticks(pid),
        "boot_id": boot_id(),
        "port": port,
        "ended": None,
        "stop_asked_at": None,
    }
    _redirect(folder)
    write_job(folder, job)
    _keep_nothing_else()
    os.execv(command[0], command)


def _keep_nothing_else() -> None:
    """Let no descriptor but the standard three pass into the agent.

    uvloop leaves its child a second copy of each pipe it makes: the agent would hold the engine's
    end of standard error open for as long as it lives, and the engine would wait for its end.
    """
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing's own descriptor is closed by now
            os.set_inheritable(int(name), int(name) <= 2)


def _redirect(folder: str) -> None:
    path = f"{folder}/agent.log"
    if os.path.exists(path) and os.path.getsize(path) > LOG_BYTES_MAX:
        os.replace(path, f"{path}.1")
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.close(null)


def main(arguments: list[str]) -> int:
    folder, run, port, *command = arguments
    # its other end closes when the child becomes the agent; before that it carries a code and why
    told, tell = os.pipe2(os.O_CLOEXEC)
    if os.fork() == 0:
        os.close(told)
        try:
            code, reason = become(folder, int(run), int(port), command), ""
        except OSError as error:
            code, reason = 1, str(error)
        os.write(tell, f"{code}{reason}".encode())
        os._exit(code)
    os.close(tell)
    with open(told, encoding="utf-8", errors="replace") as file:
        answer = file.read()
    if not answer:
        return 0
    sys.stderr.write(answer[1:])
    return int(answer[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
