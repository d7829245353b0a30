"""Whatever goes off in a session, its agent and other sessions answer within their usual time.

Usual is what they take while nothing goes off, measured on the same machine in the same minute; a
machine that is busy with other things is busy both times.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.attempts import PRELUDE, PYTHON
from tests.support.session_rig import SessionRig
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEMORY_BYTES = 256 * 1024**2
PROCESSES = 100
SLOWER_MAX = 8.0
"""How many times the usual: a bomb may use what processor time is left to it."""
ANSWERS = 5


class Witnesses:
    """An agent whose session is bombed, and a session beside it."""

    def __init__(self, bombed: SessionRig, other: SessionRig) -> None:
        self._bombed = bombed
        self._other = other
        self._seconds()  # the first answers load what later ones find in memory
        self._usual = self._seconds()

    def _seconds(self) -> float:
        """Return how long both take to answer, the median of a few answers."""
        taken: list[float] = []
        for _ in range(ANSWERS):
            begin = time.perf_counter()
            self._bombed.ask("status")
            assert self._other.run("echo well").output == "well\n"
            taken.append(time.perf_counter() - begin)
        return statistics.median(taken)

    def answer_as_usual(self) -> bool:
        return self._seconds() <= SLOWER_MAX * self._usual


@pytest.fixture(scope="module")
def other(folder: Path) -> Iterator[SessionRig]:
    with SessionRig(folder) as rig:
        yield rig
    assert rig.leftovers() == []


@contextlib.contextmanager
def bombed(folder: Path, other: SessionRig, **resources: int) -> Iterator[SessionRig]:
    """A session for one bomb: when the block ends, the witnesses are asked while it goes off."""
    with SessionRig(folder, resources=resources) as rig:
        witnesses = Witnesses(rig, other)
        yield rig
        until(witnesses.answer_as_usual, seconds=30, what="answers within the usual time")
        assert rig.ask("enter", arguments=["/bin/echo", "in"])["output"] == "in\n"
        rig.ask("enter", arguments=["/bin/bash", "-c", "kill -KILL -1"])
        until(lambda: rig.ask("use")["processes"] < 5, seconds=30, what="the bomb's end")
    assert rig.leftovers() == []


def test_memory_bomb(folder: Path, other: SessionRig) -> None:
    """One that comes back as soon as it is ended."""
    eat = "cp /usr/bin/python3 /root/greedy; while :; do /root/greedy -c 'bytearray(10**9)'; done"
    with bombed(folder, other, memory_bytes=MEMORY_BYTES) as rig:
        rig.ask("start", arguments=["bash", "-c", eat], wait=False)
        until(lambda: rig.ask("status")["memory_kill_count"] > 1, what="the second kill")
        assert "greedy" in rig.ask("status")["memory_kills"]


def test_fork_bomb(folder: Path, other: SessionRig) -> None:
    """Each process does nothing but make more of them, for ever.

    Not more of them than this: who is preempted in the kernel holds locks that others wait for, and
    among thousands nobody's turn comes soon.
    """
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except BlockingIOError: pass\n"
    with bombed(folder, other, processes=PROCESSES) as rig:
        rig.ask("start", arguments=[PYTHON, "-c", bomb], wait=False)
        until(lambda: rig.ask("status")["process_limit_hits"] > 0, what="the limit")
        assert len(rig.ask("status")["processes"]) <= PROCESSES + 1  # and one that comes in


def test_programs_that_do_nothing_but_compute(folder: Path, other: SessionRig) -> None:
    """Each leads a session: if nothing else is set, the kernel shares out time by those."""
    spin = (
        "import os, contextlib\n"
        "for _ in range(6): os.fork()\n"
        "with contextlib.suppress(OSError): os.setsid()\n"  # the first one leads a group
        "while True: pass"
    )
    with bombed(folder, other) as rig:
        rig.ask("start", arguments=[PYTHON, "-c", spin], wait=False)
        until(lambda: len(rig.ask("status")["processes"]) >= 64, what="all of them")


ZOMBIES = 100_000
ZOMBIE_BOMB = (
    PRELUDE
    + f"""
# The children share this process's memory and run one call: 30 µs each.
stack = ctypes.create_string_buffer(1 << 16)
top = ctypes.c_void_p((ctypes.addressof(stack) + len(stack)) & ~15)
leave, made = ctypes.cast(libc._exit, ctypes.c_void_p), 0
SIGCHLD, CLONE_VM, CLONE_VFORK = 17, 0x100, 0x4000
while made < {ZOMBIES} and libc.clone(leave, top, CLONE_VM | CLONE_VFORK | SIGCHLD, None) > 0:
    made += 1
open('/root/made', 'w').write(str(made))
import time
time.sleep(1000)
"""
)


def test_zombies_that_nobody_reaps(folder: Path, other: SessionRig) -> None:
    """100 000, or as many as a quarter of this machine's process numbers: then the limit is named.

    They are gone once their parent is.
    """
    with bombed(folder, other, processes=ZOMBIES + 1000) as rig:
        rig.ask("start", arguments=[PYTHON, "-c", ZOMBIE_BOMB], wait=False)
        made = rig.volume / "upper/root/made"
        until(lambda: made.exists() and made.read_text(), seconds=30, what="the zombies")
        count = int(made.read_text())
        assert rig.ask("use")["processes"] >= count > 8_000
        if count < ZOMBIES:
            until(lambda: rig.ask("status")["process_limit_hits"] > 0, what="the limit's name")
