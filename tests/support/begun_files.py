"""A host's folder where runs begin, without disks: volumes and layers are plain folders in it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, cast

from agent.checkpointing.beginning import Beginner, Beginning, Place
from agent.checkpointing.volume_note import VolumeNote, read_note, write_note
from common.session_spec import CheckpointSpec
from tests.support.fake_saver import FakeSaver, FakeStore
from tests.support.hurried_clock import HurriedClock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agent.checkpointing.facts import RestoreProgress, Saved
    from agent.checkpointing.layer import RestoredLayer
    from agent.checkpointing.saver import Saver
    from agent.volume.loop_volume import LoopVolume
    from common.clock import Clock

LEGACY_ID = "00000000000000ff"
"""The first id that a host makes up."""


class Host:
    """Its `image` is a file that stands for the volume; what is on it lies in `upper`."""

    def __init__(
        self, folder: Path, store: FakeStore | None = None, *, clock: Clock | None = None
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.image = folder / "volume.img"
        self.upper = folder / "volume" / "active" / "upper"
        self.store = store or FakeStore()
        self.clock = clock or HurriedClock()
        self.saver = self.new_saver()
        self.told: list[str] = []
        self.attached = 0
        """How often the volume is, at this instant."""
        self._run_number = 0

    def new_saver(self) -> FakeSaver:
        return FakeSaver(self.store, clock=self.clock)

    def make_volume(self) -> None:
        """Make an empty one if there is none."""
        if not self.image.exists():
            shutil.rmtree(self.upper, ignore_errors=True)
        self.leave_volume(None)

    def leave_volume(self, note: VolumeNote | None, **files: str) -> None:
        """Leave what an agent leaves that was killed."""
        if note is not None:
            write_note(self.folder, note)
        self.image.touch()
        self.upper.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (self.upper / name).write_text(content)

    def beginner(
        self,
        run_number: int,
        own_id: str,
        *,
        parent_id: str | None = None,
        parent_run_number: int | None = None,
        image: str = "image",
    ) -> Beginner:
        self.saver = self.new_saver()
        return Beginner(
            CheckpointSpec(id=own_id, parent_id=parent_id, parent_run_number=parent_run_number),
            Place(
                folder=self.folder,
                volume=cast("LoopVolume", _Volume(self)),
                volume_image=self.image,
                layer=cast("RestoredLayer", _Layer(self.folder / "restored")),
            ),
            self.saver,
            run_number=run_number,
            image=image,
            over=(self.folder,),
            new_id=lambda: LEGACY_ID,
            clock=self.clock,
            tell=self.told.append,
        )

    async def begin(
        self, run_number: int, own_id: str, *, parent_id: str | None = None
    ) -> Beginning:
        """Begin a run, and make its volume."""
        beginning = await self.beginner(run_number, own_id, parent_id=parent_id).begin()
        self.make_volume()
        return beginning

    async def end(self, **files: str) -> Saved:
        """End a run that has written some files in order."""
        self.leave_volume(None, **files)
        saved = await self.saver.write(self.upper, changes=None, final=True)
        self.lose_volume()
        (self.folder / "volume.json").unlink()
        return saved

    def lose_volume(self) -> None:
        self.image.unlink()
        for path in self.upper.iterdir():
            path.unlink()

    def shown(self, beginning: Beginning) -> dict[str, str]:
        """Return what the session sees: its volume over what was restored."""
        found: dict[str, str] = {}
        for folder in (beginning.layer, self.upper if self.image.exists() else None):
            for path in folder.iterdir() if folder is not None and folder.exists() else ():
                found[path.name] = path.read_text()
        return found

    def note(self) -> VolumeNote | None:
        return read_note(self.folder)


class _Volume:
    def __init__(self, host: Host) -> None:
        self._host = host

    async def attach(self) -> Path:
        self._host.attached += 1
        return self._host.folder / "volume"

    async def detach(self) -> None:
        self._host.attached -= 1


class _Layer:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def make(
        self,
        saver: Saver,
        saved: Saved,
        *,
        over: Sequence[Path],
        progress: Callable[[RestoreProgress], None],
    ) -> Path:
        self._folder.mkdir(exist_ok=True)
        for path in self._folder.iterdir():
            path.unlink()
        await saver.restore(saved, self._folder, over=over, progress=progress)
        return self._folder
