"""What a volume shows over what was restored below it: by a model, and by the kernel's overlay."""

from __future__ import annotations

import os
import random
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from checkpoints.format.ids import CheckpointId
from checkpoints.tree.entry import Kind
from checkpoints.writing.writer import Writer
from tests.support.checkpoint_rig import (
    Thing,
    read_back,
    repository,
    seen,
    writer,
)
from tests.support.growing_folder import GrowingFolder, GrowingVolume
from tests.support.session_layers import GrowingRoot, alike, overlay, restored_over
from tests.support.trees import small_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from checkpoints.format.record import Record
    from checkpoints.repository import Repository


def shown(volume: Mapping[bytes, Thing], base: Mapping[bytes, Thing]) -> dict[bytes, Thing]:
    """Return what a volume shows over its base: the model, one name at a time."""
    found: dict[bytes, Thing] = {}
    for path in sorted({*volume, *base}):
        below = base.get(path) if _shows(path, volume, base) else None
        thing = volume.get(path, below)
        if thing is None:
            continue
        if path in volume and thing.kind is Kind.FOLDER and below is not None:
            is_opaque = bool(thing.content or below.kind is not Kind.FOLDER or below.content)
            thing = thing._replace(content=is_opaque)
        found[path] = thing
    from_base = found.keys() - volume.keys()
    return {
        path: thing._replace(names=tuple(name for name in thing.names if name in from_base))
        if path in from_base
        else thing
        for path, thing in found.items()
    }


def _shows(path: bytes, volume: Mapping[bytes, Thing], base: Mapping[bytes, Thing]) -> bool:
    """Return whether the base's name is not hidden by the volume's folders above it."""
    while path:
        path = path.rpartition(b"/")[0]
        if base[path].kind is not Kind.FOLDER if path in base else True:
            return False
        above = volume.get(path)
        if above is not None and (above.kind is not Kind.FOLDER or above.content):
            return False
    return True


@pytest.mark.parametrize("seed", range(12))
async def test_volumes_of_all_kinds_come_to_the_models_tree_in_any_way(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    lower.mkdir()
    upper.mkdir()
    below = GrowingVolume(lower, rng, lower)
    for _ in range(80):
        below.change()
    volume = GrowingVolume(upper, rng, lower)
    with small_nodes():
        found = await repository()
        parent = await (await writer(found)).write(lower, final=True)
        base = await read_back(found, parent)
        by_list, by_comparing, anew = [await continuing(found, parent, n) for n in range(3)]
        for step in range(8):
            history = [volume.change() for _ in range(12 if step else 40)]
            first = await by_list.write(upper, changes=volume.touched)
            second = await by_comparing.write(upper)
            anew.previous = None  # it writes without looking at what was before
            third = await anew.write(upper)
            things = await read_back(found, third)
            assert things == shown(seen(upper), base), history
            assert first.tree == second.tree == third.tree, history
            assert await read_back(found, first) == things
            volume.touched.clear()


class _Session:
    """An image, what was restored over it, and a volume: mounted as a session has them."""

    def __init__(self, folder: Path, image: Path) -> None:
        self.base, self.upper, self.root, self._work = (
            folder / name for name in ("base", "upper", "root", "work")
        )
        for path in (self.upper, self.root, self._work):
            path.mkdir(parents=True)
        self._image = image

    @contextmanager
    def mounted(self) -> Iterator[None]:
        with overlay(self.root, [self.base, self._image], self.upper, self._work):
            yield


class _Touched:
    """Which inodes of a volume were touched since it was last asked, as its file system knows."""

    def __init__(self, upper: Path) -> None:
        self._upper = upper
        self._before: set[tuple[int, int]] = set()

    def paths(self) -> list[bytes]:
        now = {}
        for path in (self._upper, *sorted(self._upper.rglob("*"))):
            status = path.lstat()
            relative = os.fsencode(path.relative_to(self._upper))
            now[b"" if relative == b"." else relative] = (status.st_ino, status.st_ctime_ns)
        touched = [path for path, stamp in now.items() if stamp not in self._before]
        self._before = set(now.values())
        self._wait_for_the_clock()
        return touched

    def _wait_for_the_clock(self) -> None:
        """Files' times are coarse: what is touched next has a later one."""
        probe = self._upper.parent / "probe"
        probe.touch()
        first = probe.lstat().st_ctime_ns
        while probe.lstat().st_ctime_ns == first:
            probe.touch()


@pytest.mark.parametrize("seed", range(8))
async def test_what_a_session_shows_is_what_its_checkpoint_shows(tmp_path: Path, seed: int) -> None:
    """Four runs, one after the other, each over what the one before it left."""
    rng = random.Random(seed)
    image = tmp_path / "image"
    image.mkdir()
    growing = GrowingFolder(image, rng)
    for _ in range(60):
        growing.change()
    found = await repository()
    parent: Record | None = None
    for run in range(4):
        session = _Session(tmp_path / f"run{run}", image)
        if parent is not None:
            await restored_over(image, found, parent, session.base)
        by_list = await continuing(found, parent, 10 * run)
        by_comparing = await continuing(found, parent, 10 * run + 1)
        touched = _Touched(session.upper)
        with session.mounted():
            root = GrowingRoot(session.root, rng)
            for step in range(3):
                history = [root.change() for _ in range(20)]
                is_last = step == 2
                record = await by_list.write(session.upper, changes=touched.paths(), final=is_last)
                other = await by_comparing.write(session.upper, final=is_last)
                assert record.tree == other.tree, history
                restored = tmp_path / f"restored{run}{step}"
                await restored_over(image, found, record, restored)
                (check := tmp_path / f"check{run}{step}").mkdir()
                with overlay(check, [restored, image]):
                    assert alike(seen(check)) == alike(seen(session.root)), history
                shutil.rmtree(restored)
                parent = record
                assert record.volume == run


async def continuing(found: Repository, parent: Record | None, number: int) -> Writer:
    checkpoint = CheckpointId(f"{number + 0xD0:016x}")
    return await Writer.open(found, checkpoint, run_number=1, parent=parent)
