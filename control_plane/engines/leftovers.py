"""Ends what a tool left behind when its agent is gone.

The agent records in `tool.pid` the tool's pid with its start time, and an id that is in the
environment of everything that comes from the tool, wherever it went since. The kernel ends the tool
together with its agent; this is for what the tool had started.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import msgspec

from common.wire import MalformedMessageError, decode
from control_plane.engines.launch import start_ticks

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT_BYTES_MAX = 4 * 1024 * 1024
ID_VARIABLE = "CONNECT_TOOL_ID"


class _ToolRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The agent's `tool.pid`."""

    tool_id: str = ""
    pid: int | None = None
    start_ticks: int | None = None


def end_leftovers(state_dir: Path) -> int:
    """Kill what is left of the recorded tool; return how many processes that were.

    The caller knows that the agent is gone. Call again until it returns 0: what is killed takes a
    moment to go, and may have forked meanwhile.
    """
    try:
        record = decode((state_dir / "tool.pid").read_bytes(), _ToolRecord)
    except (FileNotFoundError, MalformedMessageError):
        return 0
    left = [pid for pid in _pids() if _belongs(pid, record)]
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return len(left)


def _pids() -> list[int]:
    own = os.getpid()
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != own]


def _belongs(pid: int, record: _ToolRecord) -> bool:
    started = start_ticks(pid)
    if started is None:
        return False
    if pid == record.pid and started == record.start_ticks:
        return True
    mark = f"{ID_VARIABLE}={record.tool_id}".encode()
    return bool(record.tool_id) and mark in _environment(pid).split(b"\0")


def _environment(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read(ENVIRONMENT_BYTES_MAX)
    except OSError:
        return b""
