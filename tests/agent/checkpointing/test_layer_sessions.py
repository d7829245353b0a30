"""Sessions one after the other, each over what was restored of the one before it."""

from __future__ import annotations

import os
import random
import shutil
from typing import TYPE_CHECKING

import pytest

from agent.checkpointing.top_folder import give_top
from tests.agent.checkpointing.layer_rig import assert_nothing_is_left, restored_layer
from tests.support.checkpoint_rig import seen
from tests.support.growing_folder import GrowingFolder
from tests.support.saver_rig import saving, work_directory
from tests.support.session_layers import GrowingRoot, alike, overlay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from agent.checkpointing.facts import Saved
    from tests.support.checkpoint_rig import Thing


async def run_all(
    folder: Path, host: Path, image: Path, runs: Iterable[Callable[[Path], None]]
) -> None:
    """Have each run change its root; each must begin with what the one before it has left."""
    layer = restored_layer(host)
    parent: Saved | None = None
    left: dict[bytes, Thing] = {}
    async with saving(work_directory(folder)) as saver:
        for number, change in enumerate(runs):
            upper, work, root = (folder / f"{name}{number}" for name in ("upper", "work", "root"))
            for path in (upper, work, root):
                path.mkdir()
            layers = [image]
            if parent is not None:
                layers = [await layer.make(saver, parent, over=[image]), image]
                give_top(upper, layers[0])
            checkpoint_id = f"{number + 1:016x}"
            await saver.open(checkpoint_id, run_number=number, image="", parent=parent)
            with overlay(root, layers, upper, work):
                if number:
                    assert alike(seen(root)) == alike(left)
                change(root)
                parent = await saver.write(upper, changes=None, final=True)
                left = seen(root)
        await layer.drop()
    assert_nothing_is_left(host)


@pytest.mark.parametrize("seed", range(2))
async def test_a_session_begins_with_what_the_one_before_it_has_left(
    tmp_path: Path, host: Path, seed: int
) -> None:
    rng = random.Random(seed)
    image = tmp_path / "image"
    image.mkdir()
    growing = GrowingFolder(image, rng)
    for _ in range(60):
        growing.change()

    def change(root: Path) -> None:
        session = GrowingRoot(root, rng)
        for _ in range(40):
            session.change()

    await run_all(tmp_path, host, image, [change] * 3)


async def test_what_was_deleted_where_the_image_has_nothing_leaves_no_name(
    tmp_path: Path, host: Path
) -> None:
    image = tmp_path / "image"
    (image / "replaced").mkdir(parents=True)
    (image / "replaced/file").touch()

    def make(root: Path) -> None:
        (root / "own").mkdir()
        (root / "own/file").touch()
        (root / "own/other").touch()
        shutil.rmtree(root / "replaced")
        (root / "replaced").mkdir()
        (root / "replaced/file").touch()

    def delete(root: Path) -> None:
        (root / "own/file").unlink()
        (root / "replaced/file").unlink()

    def look(root: Path) -> None:
        assert os.listdir(root / "own") == ["other"]
        assert os.listdir(root / "replaced") == []
        (root / "replaced").rmdir()
        shutil.rmtree(root / "own")

    await run_all(tmp_path, host, image, [make, delete, look, lambda _: None])
