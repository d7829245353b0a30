"""kill -9 of an agent at whatever moment: nothing of its session stays, nothing written is lost."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from common.messages import StepState
from common.session_spec import VolumeLimits
from tests.agent.session.conftest import ROOMY_BYTES
from tests.support.agent_rig import lives
from tests.support.seen_session import left_of
from tests.support.session_agent import MB, Studio

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.session_agent import AgentRun

RECORD_BYTES = 64 * 1024
TURNS = 5
EAGER = VolumeLimits(
    initial_bytes=256 * MB, free_bytes_min=192 * MB, step_bytes=64 * MB, limit_bytes=1024 * MB
)
"""Grows after every few megabytes."""
NAMES = ("never-synced", "synced")

WRITE = """
mkdir -p /workspace/{folder} && exec /usr/bin/python3 - << 'END'
import os
os.chdir("/workspace/{folder}")
files = {{name: os.open(name, os.O_WRONLY | os.O_CREAT) for name in {names}}}
for number in range(100000):
    for name, fd in files.items():
        assert os.write(fd, number.to_bytes(8, "big") * ({record_bytes} // 8)) == {record_bytes}
        if name == "synced": os.fsync(fd)
        os.write(1, b"%s %d\\n" % (name.encode(), number))
    if number % 10 == 0:
        with open(f"small-{{number}}", "w") as file: file.write(str(number))
        os.write(1, b"small %d\\n" % number)
END
"""
"""Says what it has written once `write` has returned: that must be there after any kill."""


class Writer:
    """Has files written in a session, and remembers what it was told of them."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._numbers: dict[str, int] = {}
        self._lines = 0

    async def write(self, run: AgentRun) -> None:
        """Return when the session is killed, with the last that it could say."""
        script = WRITE.format(folder=self._folder, names=NAMES, record_bytes=RECORD_BYTES)
        lines = run.follow(script)
        async for line in lines:
            name, _, number = line.partition(" ")
            if not number.isdecimal():  # it ended by itself, and says why
                pytest.fail("\n".join([line, *[rest async for rest in lines]]))
            self._numbers[name] = int(number)
            self._lines += 1

    def has_told(self, lines: int) -> Callable[[], bool]:
        return lambda: self._lines >= lines

    def assert_there(self, run: AgentRun) -> None:
        folder = run.files / "workspace" / self._folder
        for name in NAMES:
            assert_records((folder / name).read_bytes(), self._numbers[name])
        for number in range(0, self._numbers["small"] + 1, 10):
            assert (folder / f"small-{number}").read_text() == str(number)


def assert_records(found: bytes, last: int) -> None:
    assert len(found) >= (last + 1) * RECORD_BYTES
    for number in range(last + 1):
        record = found[number * RECORD_BYTES : (number + 1) * RECORD_BYTES]
        assert record == number.to_bytes(8, "big") * (RECORD_BYTES // 8), number


async def moment(condition: Callable[[], bool]) -> None:
    """Return in the very moment when it comes true; a wait with pauses would come too late."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


def is_over(pid: int) -> bool:
    return not lives(pid)


async def write_until_killed(studio: Studio, writer: Writer, when: Callable[[], bool]) -> None:
    async with studio.session() as run, asyncio.TaskGroup() as group:
        group.create_task(writer.write(run))
        await moment(when)
        await run.kill()
    await studio.nothing_remains()


async def test_what_write_has_returned_for_survives_a_kill_at_any_moment(studio: Studio) -> None:
    rng = random.Random()
    writers = [Writer(f"turn-{turn}") for turn in range(TURNS)]
    for writer in writers:
        await write_until_killed(studio, writer, writer.has_told(rng.randrange(10, 400)))
        first = studio.first_process()
        assert first is not None, "the note of a killed agent"
        await moment(partial(is_over, first))  # which may take a busy machine a moment
    async with studio.session() as run:
        for writer in writers:
            writer.assert_there(run)
        await run.stop()
    studio.assert_left_in_order()
    studio.check_image()


async def test_killed_while_growing_its_volume_has_one_size_and_all_that_was_written() -> None:
    writers = [Writer(f"turn-{turn}") for turn in range(3)]
    with Studio(volume=EAGER) as studio:
        studio.put_on_disk(ROOMY_BYTES)
        size = EAGER.initial_bytes
        for writer in writers:
            await write_until_killed(studio, writer, partial(is_larger, studio, size))
            size = studio.image_bytes()
        async with studio.session() as run:
            for writer in writers:
                writer.assert_there(run)
            shown = await run.out("df --block-size=1 --output=size /")
            assert int(shown.split()[-1]) == studio.image_bytes()
            await run.stop()
        studio.check_image()


def is_larger(studio: Studio, size: int) -> bool:
    return studio.image.exists() and studio.image_bytes() > size


# ── While a session is made, and while it ends ───────────────────────────────


def mounted(run: AgentRun, path: Path) -> bool:
    table = Path(f"/proc/{run.pid}/mountinfo").read_text()
    return any(line.split()[4] == str(path) for line in table.splitlines())


def image_is_being_made(studio: Studio, run: AgentRun) -> bool:
    """Or was just now: that takes some milliseconds, which a busy machine may not give to us."""
    unfinished = studio.image.with_name(f"{studio.image.name}.unfinished")
    return unfinished.exists() or studio.image.exists()


def image_is_attached(studio: Studio, run: AgentRun) -> bool:
    return bool(left_of(studio.image))


def volume_is_mounted(studio: Studio, run: AgentRun) -> bool:
    return mounted(run, studio.state / "volume")


def root_is_mounted(studio: Studio, run: AgentRun) -> bool:
    return mounted(run, studio.mounts / "root")


def first_process_is_noted(studio: Studio, run: AgentRun) -> bool:
    return studio.first_process() is not None


async def test_killed_while_making_a_session_the_next_one_is_made_from_what_there_is(
    studio: Studio,
) -> None:
    for phase in (
        image_is_being_made,
        image_is_attached,
        volume_is_mounted,
        root_is_mounted,
        first_process_is_noted,
    ):
        async with studio.agent() as run:
            await moment(partial(phase, studio, run))
            await run.kill()
        await studio.nothing_remains()
    async with studio.session() as run:
        await run.out("echo made > /workspace/file && cat /workspace/file")
        await run.stop()
    studio.assert_left_in_order()
    studio.check_image()


def session_is_gone(studio: Studio, run: AgentRun) -> bool:
    return studio.first_process() is None


def root_is_unmounted(studio: Studio, run: AgentRun) -> bool:
    return not root_is_mounted(studio, run)


def tool_is_being_stopped(studio: Studio, run: AgentRun) -> bool:
    steps = [step for report in run.control_plane.reports for step in report.stop_steps]
    return any(
        step.name == "stop the tool" and step.state is not StepState.PENDING for step in steps
    )


@pytest.mark.parametrize("phase", [tool_is_being_stopped, root_is_unmounted, session_is_gone])
async def test_killed_while_stopping_nothing_is_lost(
    studio: Studio, phase: Callable[[Studio, AgentRun], bool]
) -> None:
    digest = "sha256sum < /workspace/file"
    async with studio.session() as run:
        await run.out("head -c 60M /dev/urandom > /workspace/file")
        before = await run.out(digest)
        if phase is tool_is_being_stopped:  # then there is time to see it
            await run.out("setsid sh -c \"trap '' TERM HUP; sleep 1000\" > /dev/null 2>&1 &")
        run.terminate()
        await moment(partial(phase, studio, run))
        await run.kill()
    await studio.nothing_remains()
    async with studio.session() as run:
        assert await run.out(digest) == before
        await run.stop()
    studio.check_image()
