"""A btrfs on a loop file with `active`, as sessions have it, and one snapshot of it after another.

Each snapshot is compared with the one before, by all that can be told of the files in it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from agent.volume.attachment import ACTIVE, SNAPSHOTS
from agent.volume.btrfs_calls import Tree
from agent.volume.changes.finder import changed
from agent.volume.changes.point import UPPER, Point, point_of
from checkpoints.format.ids import CheckpointId
from checkpoints.writing.writer import Writer
from tests.support.checkpoint_rig import repository
from tests.support.whole_facts import Facts, look, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checkpoints.format.record import Record
    from checkpoints.repository import Repository

OVERLAY_OPTIONS = "redirect_dir=off,metacopy=off,index=off,nfs_export=off,xino=off"
"""As sessions have them."""


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"


class Mounted:
    """The mounted volume, in a folder that goes with all that is in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "volume"
        self.active = self.root / ACTIVE
        self.upper = self.active / UPPER
        self.work = self.active / "work"
        self.tree: Tree

    def mount(self) -> None:
        run("mount", "-o", "loop,noatime", self.folder / "image", self.root)
        self.tree = Tree(self.root)

    def unmount(self) -> None:
        run("umount", self.root)

    def let_go(self) -> None:
        """Unmount it although a failed test has left something open."""
        subprocess.run(["umount", "--lazy", self.root], capture_output=True, check=False)

    def prepare(self) -> None:
        """Make anew what the session's files are in."""
        self.tree.drop_snapshot(self.active)
        self.tree.create_subvolume(self.active)
        for folder in (self.upper, self.work):
            folder.mkdir()

    @contextmanager
    def snapshot(self) -> Iterator[Path]:
        path = self.root / SNAPSHOTS / "one"
        self.tree.snapshot(self.active, path)
        try:
            yield path
        finally:
            self.tree.drop_snapshot(path)

    @contextmanager
    def overlay(self, lower: Path) -> Iterator[Path]:
        """Give a session's `/`: the volume over `lower`."""
        merged = self.folder / "merged"
        merged.mkdir(exist_ok=True)
        layers = f"lowerdir={lower},upperdir={self.upper},workdir={self.work}"
        run("mount", "-t", "overlay", "-o", f"{OVERLAY_OPTIONS},{layers}", "overlay", merged)
        try:
            yield merged
        finally:
            run("umount", merged)


@contextmanager
def mounted(size_bytes: int) -> Iterator[Mounted]:
    folder = Path(tempfile.mkdtemp(dir="/var/lib", prefix="studios-test-changes-"))
    try:
        image = folder / "image"
        image.touch()
        os.truncate(image, size_bytes)
        run("mkfs.btrfs", "-q", image)
        volume = Mounted(folder)
        volume.root.mkdir()
        volume.mount()
        try:
            (volume.root / SNAPSHOTS).mkdir()
            volume.prepare()
            yield volume
        finally:
            volume.let_go()
    finally:
        shutil.rmtree(folder)


class Rounds:
    """What happens between two captures, again and again."""

    def __init__(self, volume: Mounted, found: Repository, base: Record | None) -> None:
        """Use `begin`."""
        self._volume = volume
        self._repository = found
        self._base = base
        self._facts: Facts = {}
        self._by_list: Writer
        self._by_comparing: Writer
        self._anew: Writer
        self.since: Point

    @classmethod
    async def begin(
        cls, volume: Mounted, found: Repository | None = None, base: Record | None = None
    ) -> Rounds:
        """Take the volume as it is now, over a base that was restored, if there is one."""
        rounds = cls(volume, found or await repository(), base)
        rounds._by_list, rounds._by_comparing, rounds._anew = [
            await Writer.open(
                rounds._repository, CheckpointId(f"{number:016x}"), run_number=1, parent=base
            )
            for number in (0xE1, 0xE2, 0xE3)
        ]
        with volume.snapshot() as snapshot:
            rounds.since = point_of(snapshot)
            rounds._facts = look(snapshot / UPPER)
            await rounds._write(snapshot / UPPER, None)
        return rounds

    async def end(self) -> set[bytes]:
        """Capture what has happened since the last; return what was listed, which was enough."""
        with self._volume.snapshot() as snapshot:
            found = changed(snapshot, self.since)
            facts = look(snapshot / UPPER)
            listed = set(found.paths)
            assert len(listed) == len(found.paths), "each once"
            assert listed <= facts.keys(), "nothing that isn't there"
            assert not missing(self._facts, facts, listed)
            await self._write(snapshot / UPPER, found.paths)
        self.since, self._facts = found.point, facts
        return listed

    async def _write(self, folder: Path, listed: tuple[bytes, ...] | None) -> None:
        first = await self._by_list.write(folder, originals=self._volume.upper, changes=listed)
        second = await self._by_comparing.write(folder)
        self._anew.previous = None  # it writes without looking at what was before
        third = await self._anew.write(folder)
        assert first.tree == second.tree == third.tree
