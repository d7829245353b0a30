"""The agent, which notes when its event loop comes round and what it does about files when.

`python -m bench.saving.watched --spec-file FILE` is `python -m agent --spec-file FILE`; what was
noted lies beside FILE once it has ended, not before: writing it meanwhile would be work that no
agent has. 200 ticks a second take 0.1 % of a core and 6 MB an hour.
"""

from __future__ import annotations

import functools
import sys
from array import array
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import msgspec
import uvloop

from agent.__main__ import main as agent_main
from agent.checkpointing.capture import VolumeCapture
from agent.checkpointing.changes import BtrfsChanges
from agent.checkpointing.process import SaverProcess
from agent.config import parse_arguments
from bench.saving.notes import STAMP, Act, Notes
from bench.saving.ticker import ticking

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

NOTES_NAME = "notes.msgpack"

CAPTURE, FIND, WRITE, RESTORE = "capture", "find", "write", "restore"
_ACTS = (
    (VolumeCapture, "take", CAPTURE),
    (BtrfsChanges, "find", FIND),
    (SaverProcess, "write", WRITE),
    (SaverProcess, "restore", RESTORE),
)


def notes_of(spec_file: Path) -> Path:
    return spec_file.with_name(NOTES_NAME)


def _noted(
    act: Callable[..., Coroutine[Any, Any, Any]], name: str, acts: list[Act]
) -> Callable[..., Coroutine[Any, Any, Any]]:
    @functools.wraps(act)
    async def noted(*arguments: object, **named: object) -> Any:
        begin_ns = monotonic_ns()
        try:
            return await act(*arguments, **named)
        finally:
            acts.append(Act(name=name, begin_ns=begin_ns, end_ns=monotonic_ns()))

    return noted


def main() -> int:
    spec_file = parse_arguments(sys.argv[1:]).spec_file
    assert spec_file is not None, "how a benchmark starts agents"
    ticks, acts = array(STAMP), list[Act]()
    for owner, method, name in _ACTS:
        setattr(owner, method, _noted(getattr(owner, method), name, acts))
    make_loop = functools.partial(ticking, uvloop.new_event_loop, ticks)
    setattr(uvloop, "new_event_loop", make_loop)  # noqa: B010 - where the agent gets its loop
    code = agent_main()
    notes = Notes(ticks=ticks.tobytes(), acts=tuple(acts))
    notes_of(spec_file).write_bytes(msgspec.msgpack.encode(notes))
    return code


if __name__ == "__main__":
    sys.exit(main())
