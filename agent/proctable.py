"""One line of the kernel's table of processes, read from /proc. Parsing is pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """One line of the table."""

    pid: int
    parent: int
    session: int
    start_ticks: int
    """When it started, in clock ticks since boot: with the pid, a name that is never used twice."""
    zombie: bool


def parse_stat(text: str) -> ProcessFacts:
    """Parse /proc/<pid>/stat; see proc_pid_stat(5). The command's name may hold anything."""
    pid = int(text[: text.index(" ")])
    fields = text[text.rindex(")") + 2 :].split()
    return ProcessFacts(
        pid=pid,
        zombie=fields[0] in {"Z", "X"},
        parent=int(fields[1]),
        session=int(fields[3]),
        start_ticks=int(fields[19]),
    )


def read_process(pid: int) -> ProcessFacts | None:
    """Return one process's facts, or None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return parse_stat(file.read())
    except (FileNotFoundError, ProcessLookupError):
        return None
