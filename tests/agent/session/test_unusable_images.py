"""An image that can't be used: the run ends with a sentence about it, and nothing touches it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from common.messages import RunPhase
from tests.support.session_agent import MB, Studio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SUPERBLOCK_OFFSETS = (64 * 1024, 64 * MB)
FILE_TREE = "256"  # the number of the first subvolume, which has all that a session writes


def cut(image: Path) -> None:
    os.truncate(image, image.stat().st_size - MB)


def cut_to_nothing(image: Path) -> None:
    os.truncate(image, 0)


def overwrite(image: Path, offset: int) -> None:
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(os.urandom(4096))


def without_superblocks(image: Path) -> None:
    for offset in SUPERBLOCK_OFFSETS:
        overwrite(image, offset)


def with_a_leaf_of(tree: str, which: Callable[[list[int]], int]) -> Callable[[Path], None]:
    """Return what damages one leaf of a tree; `which` chooses among them."""

    def damage(image: Path) -> None:
        dump = output("btrfs", "inspect-internal", "dump-tree", "-t", tree, str(image))
        leaves = [int(leaf) for leaf in re.findall(r"^leaf (\d+) items", dump, re.MULTILINE)]
        where = output("btrfs-map-logical", "-l", str(which(leaves)), str(image))
        found = re.search(r"physical (\d+)", where)
        assert found is not None, where
        overwrite(image, int(found[1]))

    return damage


def first(leaves: list[int]) -> int:
    return leaves[0]


def middle(leaves: list[int]) -> int:
    return leaves[len(leaves) // 2]


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, check=True).stdout.decode(errors="replace")


def digest(image: Path) -> str:
    with image.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


@pytest.fixture(scope="module")
def filled_image() -> Iterator[Path]:
    """An image that a session has filled with files and left in order."""

    async def fill(studio: Studio) -> None:
        async with studio.session() as run:
            await run.out(
                "for n in $(seq 400); do mkdir -p /workspace/$n; echo $n > /workspace/$n/f; done"
            )
            await run.stop()

    with Studio() as studio:
        asyncio.run(fill(studio))
        yield studio.image


@pytest.fixture
def image(studio: Studio, filled_image: Path) -> Path:
    """A copy of it, as the studio's own."""
    copy(filled_image, studio.image)
    return studio.image


def copy(image: Path, target: Path) -> None:
    output("cp", "--sparse=always", str(image), str(target))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        pytest.param(cut, "was cut off", id="truncated"),
        pytest.param(cut_to_nothing, "was cut off", id="empty"),
        pytest.param(without_superblocks, "is damaged", id="superblocks"),
        pytest.param(with_a_leaf_of("1", first), "is damaged", id="root tree"),
        pytest.param(with_a_leaf_of("5", first), "is damaged", id="top folder"),
        pytest.param(with_a_leaf_of(FILE_TREE, first), "is damaged", id="first files"),
    ],
)
async def test_a_damaged_image_ends_the_run_with_its_name_and_is_left_as_it_is(
    studio: Studio, image: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    damage(image)
    before = digest(image)
    async with studio.agent() as run:
        report = await run.ended()
    assert report.phase is RunPhase.FAILED
    assert f"the volume's image {image} {sentence}" in report.message
    assert report.message.endswith("put a copy in its place, or move it away to begin anew.")
    assert digest(image) == before
    studio.assert_left_in_order()


async def test_what_the_sentence_advises_works(
    studio: Studio, image: Path, filled_image: Path
) -> None:
    without_superblocks(image)
    os.rename(image, studio.state / "away")
    async with studio.session() as run:
        assert await run.out("ls /workspace") == ""
        await run.stop()
    copy(filled_image, image)
    async with studio.session() as run:
        assert await run.out("cat /workspace/400/f") == "400"
        await run.stop()


async def test_files_around_a_damaged_leaf_can_be_saved(studio: Studio, image: Path) -> None:
    with_a_leaf_of(FILE_TREE, middle)(image)
    async with studio.session() as run:
        found = await run.sh("cat /workspace/*/f 2> /run/errors | wc -l; cat /run/errors")
        count, *errors = found.output.splitlines()
        assert 0 < int(count) < 400
        assert all("Input/output error" in line for line in errors)
        await run.out("echo more > /root/more && sync && cat /root/more")
        await run.stop()
    studio.assert_left_in_order()
