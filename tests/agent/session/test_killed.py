"""kill -9 of an agent at whatever moment: nothing of its session stays, nothing written is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from common.messages import StepState
from tests.support.agent_rig import lives
from tests.support.seen_session import left_of
from tests.support.session_agent import AgentRun, Studio

RECORD_BYTES = 64 * 1024
ROUNDS = 5
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


@dataclass(frozen=True, slots=True)
class Written:
    """The last number of each kind that a writer could say before it was ended."""

    folder: str
    numbers: dict[str, int]

    def assert_there(self, files: Path) -> None:
        folder = files / "workspace" / self.folder
        for name in NAMES:
            assert_records((folder / name).read_bytes(), self.numbers[name])
        for number in range(0, self.numbers["small"] + 1, 10):
            assert (folder / f"small-{number}").read_text() == str(number)


def assert_records(found: bytes, last: int) -> None:
    assert len(found) >= (last + 1) * RECORD_BYTES
    for number in range(last + 1):
        record = found[number * RECORD_BYTES : (number + 1) * RECORD_BYTES]
        assert record == number.to_bytes(8, "big") * (RECORD_BYTES // 8), number


def heard(lines: int) -> Callable[[int], bool]:
    return lambda count: count >= lines


def grows(image: Path) -> Callable[[int], bool]:
    before = image.stat().st_size
    return lambda _: image.stat().st_size != before


async def write_until(run: AgentRun, folder: str, killed: Callable[[int], bool]) -> Written:
    """Have files written; kill the agent once `killed` says so of the count of lines heard."""
    numbers: dict[str, int] = {}
    count = 0
    script = WRITE.format(folder=folder, names=NAMES, record_bytes=RECORD_BYTES)
    async for line in run.follow(script):
        name, number = line.split()
        numbers[name] = int(number)
        count += 1
        if run.lives() and killed(count):
            await run.kill()
    assert not run.lives(), "the writer ended by itself"
    return Written(folder, numbers)


Phase = Callable[[Studio, AgentRun], bool]


async def moment(phase: Phase, studio: Studio, run: AgentRun) -> None:
    """Return in the very moment when it is reached; a wait with pauses would come too late."""
    async with asyncio.timeout(20):
        while not phase(studio, run):
            await asyncio.sleep(0)


async def test_what_write_has_returned_for_survives_a_kill_at_any_moment(studio: Studio) -> None:
    rng = random.Random()
    written: list[Written] = []
    first_processes: list[int | None] = []
    for turn in range(ROUNDS):
        async with studio.session() as run:
            first_processes.append(studio.first_process())
            for earlier in written:
                earlier.assert_there(run.files)
            written.append(await write_until(run, f"turn-{turn}", heard(rng.randrange(10, 600))))
        await studio.nothing_remains()
    assert not [pid for pid in first_processes if pid is None or lives(pid)]
    async with studio.session() as run:
        for earlier in written:
            earlier.assert_there(run.files)
        await run.stop()
    studio.assert_left_in_order()
    studio.check_image()


async def test_killed_while_growing_its_volume_has_one_size_and_all_that_was_written(
    studio: Studio,
) -> None:
    written: list[Written] = []
    for turn in range(2):
        async with studio.session() as run:
            written.append(await write_until(run, f"turn-{turn}", grows(studio.image)))
        await studio.nothing_remains()
    async with studio.session() as run:
        for earlier in written:
            earlier.assert_there(run.files)
        shown = await run.out("df --block-size=1 --output=size /")
        size = studio.image.stat().st_size
        assert int(shown.split()[-1]) == size
        assert size >= studio.volume.initial_bytes + 2 * studio.volume.step_bytes
        await run.stop()
    studio.check_image()


# ── While a session is made, and while it ends ───────────────────────────────


def mounted(run: AgentRun, path: Path) -> bool:
    table = Path(f"/proc/{run.pid}/mountinfo").read_text()
    return any(line.split()[4] == str(path) for line in table.splitlines())


def image_is_being_made(studio: Studio, run: AgentRun) -> bool:
    return studio.image.with_name(f"{studio.image.name}.unfinished").exists()


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
            await moment(phase, studio, run)
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
async def test_killed_while_stopping_nothing_is_lost(studio: Studio, phase: Phase) -> None:
    digest = "sha256sum < /workspace/file"
    async with studio.session() as run:
        await run.out("head -c 60M /dev/urandom > /workspace/file")
        before = await run.out(digest)
        if phase is tool_is_being_stopped:  # then there is time to see it
            await run.out("setsid sh -c \"trap '' TERM HUP; sleep 1000\" > /dev/null 2>&1 &")
        run.terminate()
        await moment(phase, studio, run)
        await run.kill()
    await studio.nothing_remains()
    async with studio.session() as run:
        assert await run.out(digest) == before
        await run.stop()
    studio.check_image()
