"""What a session made of its root is there again after a stop and a start, exactly."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from common.session_spec import VolumeLimits
from tests.support import session_changes, session_tree
from tests.support.saving_studio import SavingStudio, checkpoint_of
from tests.support.session_agent import SMALL
from tests.support.session_sight import assert_same, look

if TYPE_CHECKING:
    from tests.support.session_agent import AgentRun
    from tests.support.session_sight import Sights

pytestmark = pytest.mark.timeout(300)
SOAK = (pytest.mark.soak, pytest.mark.timeout(1200))

STARTS = 3


class Tree:
    """A generated one: its first state is the image's, all others are the session's."""

    def __init__(self, studio: SavingStudio) -> None:
        self._programs = studio.folder / "programs"
        folder = self._programs / "tests/support"
        folder.mkdir(parents=True)
        for program in (session_tree, session_changes):
            shutil.copy(str(program.__file__), folder)
        self.top = studio.folder / "tree"
        subprocess.run(["sh", "-c", self._command("tree", "image", self.top)], check=True)

    def _command(self, program: str, *arguments: object) -> str:
        words = " ".join(map(str, arguments))
        return f"cd {self._programs} && /usr/bin/python3 -m tests.support.session_{program} {words}"

    async def make(self, run: AgentRun) -> None:
        await run.out(self._command("tree", "make", self.top))

    async def change(self, run: AgentRun, seed: int, count: int) -> None:
        """Change anything twice; what the first changes have made is saved between them."""
        await run.out(self._command("changes", 2 * seed, count, self.top))
        await run.out("studio save")
        await run.out(self._command("changes", 2 * seed + 1, count, self.top))

    async def make_many(self, run: AgentRun, count: int) -> None:
        await run.out(self._command("tree", "many", self.top / "many", count))

    async def look(self, run: AgentRun) -> Sights:
        return await asyncio.to_thread(look, run.files, (str(self.top),))


@pytest.mark.parametrize(
    ("seed", "changes"),
    [pytest.param(0, 150), *[pytest.param(seed, 1000, marks=SOAK) for seed in range(1, 9)]],
)
async def test_every_kind_of_file_and_change_is_there_after_three_stops_and_starts(
    seed: int, changes: int
) -> None:
    with SavingStudio(volume=VolumeLimits() if seed else SMALL) as studio:
        tree = Tree(studio)
        async with studio.session() as run:
            await tree.make(run)
            await tree.change(run, 100 * seed, changes)
            left = await tree.look(run)
            assert checkpoint_of(await run.stop()).torn_files == 0
        for number in range(1, STARTS + 1):
            async with studio.session() as run:
                assert_same(left, await tree.look(run))
                assert studio.image_bytes() == studio.volume.initial_bytes
                await tree.change(run, 100 * seed + number, changes)
                left = await tree.look(run)
                await run.stop()
        studio.assert_left_in_order()


@pytest.mark.parametrize(
    "count", [pytest.param(5_000, id="5 000"), pytest.param(100_000, id="100 000", marks=SOAK)]
)
async def test_a_folder_with_very_many_files_is_there_again(count: int) -> None:
    with SavingStudio(volume=VolumeLimits()) as studio:
        tree = Tree(studio)
        async with studio.session() as run:
            await tree.make_many(run, count)
            left = await tree.look(run)
            await run.stop()
        for number in range(STARTS):
            async with studio.session() as run:
                assert_same(left, await tree.look(run))
                await run.out(
                    f"cd {tree.top}/many && rm *{number}7* && touch -d 2001-02-03 *{number}3*"
                )
                left = await tree.look(run)
                await run.stop()
