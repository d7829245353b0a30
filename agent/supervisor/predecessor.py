"""What a killed agent left running is ended before a new tool starts.

The kernel kills the tool together with its agent, but not what the tool had started. Before each
start the agent records an id that is in the environment of all that comes from it, and after it
the tool's pid with its start time; the record lies in the host's state folder, which outlives the
agent. Neither can name a stranger: the id is random, and a pid with its start time is used once.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import structlog

from agent.supervisor.environment import ID_VARIABLE
from agent.supervisor.family import end_all
from agent.supervisor.proctable import (
    ProcessFacts,
    Table,
    descendants,
    read_environment,
    read_process,
    read_table,
)
from common.wire import MalformedMessageError, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from common.clock import Clock

GRACE_SECONDS = 2.0  # nobody can reach these processes any more; they may flush a file

_log = structlog.get_logger()


class ToolRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The file `tool.pid`."""

    tool_id: str
    pid: int | None = None
    start_ticks: int | None = None


def write_record(path: Path, tool_id: str, pid: int | None) -> None:
    """Replace the record; with the pid as soon as there is one."""
    facts = None if pid is None else read_process(pid)
    record = ToolRecord(
        tool_id=tool_id, pid=pid, start_ticks=None if facts is None else facts.start_ticks
    )
    new = path.with_name(path.name + ".new")
    new.write_bytes(encode(record))
    os.replace(new, path)


def remove_record(path: Path) -> None:
    path.unlink(missing_ok=True)


def read_record(path: Path) -> ToolRecord | None:
    """Return the record, or None if there is none that can be read."""
    try:
        return decode(path.read_bytes(), ToolRecord)
    except FileNotFoundError:
        return None
    except MalformedMessageError as error:  # cut by a power failure: those processes are gone too
        _log.warning("tool_record_unreadable", path=str(path), error=str(error))
        return None


def leftovers(
    table: Table, record: ToolRecord, carries_id: Callable[[int], bool], *, own_pid: int
) -> set[int]:
    """Return the recorded tool's processes: itself, all that carry its id, all below them."""
    seeds = {
        pid
        for pid, facts in table.items()
        if (pid == record.pid and facts.start_ticks == record.start_ticks) or carries_id(pid)
    }
    return (seeds | descendants(table, seeds)) - {own_pid}


async def end_leftovers(path: Path, clock: Clock) -> int:
    """End what a predecessor's tool left, if anything; return how many processes that were."""
    record = read_record(path)
    if record is None:
        return 0
    mark = f"{ID_VARIABLE}={record.tool_id}".encode()

    def living() -> list[ProcessFacts]:
        table = read_table()
        found = leftovers(
            table,
            record,
            lambda pid: mark in read_environment(pid).split(b"\0"),
            own_pid=os.getpid(),
        )
        return [table[pid] for pid in found if not table[pid].zombie]

    count = len(living())
    if count:
        _log.warning("predecessor_left_processes", count=count)
        await end_all(living, grace_seconds=GRACE_SECONDS, clock=clock)
    remove_record(path)
    return count
