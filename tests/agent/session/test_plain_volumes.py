"""Whole sessions on a host that can't make btrfs: on XFS, and on ext4 where that is not there."""

from __future__ import annotations

import asyncio
import shutil
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from agent.volume import image
from common.messages import CheckpointPhase
from common.session_spec import VolumeLimits
from tests.support.agent_rig import ROOT
from tests.support.saving_studio import SavingStudio, checkpoint_of
from tests.support.session_agent import MB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from common.messages import StatusReport
    from tests.support.session_agent import AgentRun

pytestmark = pytest.mark.timeout(300)

LIMITS = VolumeLimits(
    initial_bytes=384 * MB, free_bytes_min=64 * MB, step_bytes=128 * MB, limit_bytes=640 * MB
)
"""XFS is never smaller than 300 MB."""
HIDE = 'for each in $0; do mount --bind /dev/null "$each"; done; exec "$@"'
"""Programs that are none any more, for a process and what it starts."""
MISSING = {"xfs": ("btrfs",), "ext4": ("btrfs", "xfs")}

CHANGES = """
set -e
mkdir -p /workspace/sub /opt/own
echo {number} >/workspace/sub/file
echo {number} >>/opt/own/all
rm -f /etc/issue
ln -sf file /workspace/sub/link
"""
FULL_SPEED = """
exec /usr/bin/python3 -u -c '
import os
os.makedirs("/workspace", exist_ok=True)
fd = os.open("/workspace/written", os.O_RDWR | os.O_CREAT)
number = 0
while True:
    number += 1
    block = (b"%08d" % number) * 131072
    for at in range(16):
        os.pwrite(fd, block, at << 20)
    print(number)
'
"""
"""Rewrites 16 MB with one number, again and again."""


class PlainStudio(SavingStudio):
    """Its agents don't find the programs that make better kinds."""

    def __init__(self, kind: str) -> None:
        super().__init__(volume=LIMITS)
        self.kind = kind
        self.is_hidden = True

    @asynccontextmanager
    async def agent(self, *, through: tuple[str, ...] = ()) -> AsyncIterator[AgentRun]:  # type: ignore[override]
        if self.is_hidden:
            paths = [shutil.which(f"mkfs.{kind}") for kind in MISSING[self.kind]]
            hide = ("unshare", "--mount", "--propagation", "private", "bash", "-euc", HIDE)
            through = (*hide, " ".join(map(str, paths)), *through)
        async with super().agent(through=through) as run:
            yield run

    def kind_of_image(self) -> str:
        return image.check(self.image).kind.name


def is_weaker(report: StatusReport) -> bool:
    """Say whether a report tells that files may be saved half-way."""
    return any("half-way" in warning for warning in report.warnings)


@pytest.fixture(params=["xfs", pytest.param("ext4", marks=pytest.mark.soak)])
def studio(request: pytest.FixtureRequest) -> Iterator[PlainStudio]:
    with PlainStudio(str(request.param)) as studio:
        yield studio


async def test_what_was_changed_is_there_after_stops_and_starts(studio: PlainStudio) -> None:
    for number in range(3):
        async with studio.session() as run:
            await run.control_plane.reported(is_weaker)
            assert studio.kind_of_image() == studio.kind
            if number:
                assert await run.out("cat /workspace/sub/link") == str(number - 1)
                shown = (await run.out("cat /opt/own/all")).split()
                assert shown == [str(each) for each in range(number)]
                assert (await run.sh("test -e /etc/issue")).code != 0
            await run.out(CHANGES.format(number=number))
            await run.out("studio save")
            status = checkpoint_of(await run.stop())
        assert status.phase is CheckpointPhase.FINALIZED
        assert status.torn_files == 0
        assert not studio.image.exists(), "all is saved, so the volume is not needed"
        studio.assert_left_in_order()


async def test_a_file_written_at_full_speed_is_whole_or_counted_as_torn(
    studio: PlainStudio,
) -> None:
    async with studio.session() as run, asyncio.TaskGroup() as group:
        written = run.follow(FULL_SPEED)
        assert int(await anext(written)) == 1
        group.create_task(drain(written))
        await run.out("studio save")
        report = await run.control_plane.reported(has_saved)
        status = checkpoint_of(report)
        content = await stored(studio, f"{status.id}@{status.generation}", "/workspace/written")
        assert len(content) == 16 * MB
        assert status.torn_files == 1 or is_of_one_instant(content)
        assert checkpoint_of(await run.stop()).torn_files == 0, "nobody writes any more"


BLOCKS = range(0, 16 * MB, MB)


def is_of_one_instant(content: bytes) -> bool:
    """Say whether the file was so at some time: the first blocks may be a number further."""
    numbers = [int(content[at : at + 8]) for at in BLOCKS]
    return numbers == sorted(numbers, reverse=True) and numbers[0] - numbers[-1] <= 1


def has_saved(report: StatusReport) -> bool:
    return report.checkpoint is not None and report.checkpoint.generation > 0


async def stored(studio: PlainStudio, checkpoint: str, path: str) -> bytes:
    command = (sys.executable, "-m", "studios", "checkpoints", "cat", "-w", studio.url)
    process = await asyncio.create_subprocess_exec(
        *command, checkpoint, path, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    content, _ = await process.communicate()
    assert process.returncode == 0
    return content


async def drain(lines: AsyncIterator[str]) -> None:
    async for _ in lines:
        pass


async def test_a_killed_agents_volume_goes_on_as_what_it_is(studio: PlainStudio) -> None:
    studio.next_id = own = "00000000000000aa"
    async with studio.session() as run:
        await run.out("echo work >/workspace/kept")
        await run.kill()
    await studio.nothing_remains()
    assert studio.kind_of_image() == studio.kind
    studio.next_id, studio.runs, studio.is_hidden = own, studio.runs - 1, False
    studio.parent_id = None
    async with studio.session() as run:
        assert studio.kind_of_image() == studio.kind, "also where there is btrfs now"
        assert await run.out("cat /workspace/kept") == "work"
        await run.stop()
    studio.is_hidden = False
    async with studio.session() as run:
        assert await run.out("cat /workspace/kept") == "work"
        assert studio.kind_of_image() == "btrfs", "a new volume is the best that there is"
        assert not is_weaker(await run.stop())
