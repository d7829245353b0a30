"""Captures of a volume that is a plain folder, by a saver in memory, on a clock that is stepped."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from agent.checkpointing.capture import VolumeCapture
from agent.checkpointing.captures import Captures
from agent.checkpointing.changes import Found
from agent.checkpointing.saver import StorageTroubleError, SupersededError
from agent.volume.changes.point import UPPER
from common.clock import SteppingClock, settle
from common.session_spec import CheckpointSpec
from common.tasks import TaskBag
from tests.support.fake_saver import FakeSaver, FakeStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agent.checkpointing.facts import Saved
    from agent.volume.snapshots import Snapshots
    from agent.volume.volume import VolumeError
    from common.messages import CheckpointStatus

OWN = "00000000000000c1"
INTERVAL_SECONDS = 300.0
AWAY = StorageTroubleError("The bucket doesn't answer.", retry_helps=True)
REFUSED = StorageTroubleError("The bucket refuses the credentials.", retry_helps=False)
SUPERSEDED = SupersededError("Checkpoint c1 was taken over by a later run.")


class CapturedVolume:
    """One run's. `touch` is what programs do; the rest is what may happen meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.active = folder / "volume" / "active"
        self.upper = self.active / UPPER
        self.upper.mkdir(parents=True)
        self.clock = SteppingClock()
        self.store = FakeStore()
        self.saver = FakeSaver(self.store, clock=self.clock)
        self.snapshots = _Snapshots(self)
        self.finder = _Finder()
        self.is_full = False
        self.interval_seconds = INTERVAL_SECONDS
        self.statuses: list[CheckpointStatus] = []
        self.tasks = TaskBag("test")
        self._captures: Captures | None = None

    @property
    def captures(self) -> Captures:
        assert self._captures is not None
        return self._captures

    def status(self) -> CheckpointStatus:
        return self.captures.status()

    def touch(self, content: str) -> None:
        (self.upper / "file").write_text(content)
        self.finder.has_changes = True

    def saved(self) -> list[str]:
        """Return what the file had in each generation."""
        found = self.store.generations(OWN)
        return [self.store.tree(saved).get("file", b"").decode() for saved in found]

    def capture(self) -> VolumeCapture:
        return VolumeCapture(
            cast("Snapshots", self.snapshots),
            self.active,
            self.saver,
            self.finder,
            checkpoint_id=OWN,
            is_full=lambda: self.is_full,
            clock=self.clock,
        )

    @asynccontextmanager
    async def captured(self, *, first: Saved | None = None) -> AsyncIterator[Captures]:
        """Open the checkpoint, and make what captures; it is closed afterwards."""
        await self.saver.open(OWN, run_number=1, image="image", parent=None)
        self._captures = Captures(
            CheckpointSpec(id=OWN),
            self.capture(),
            image="image",
            first=first,
            interval_seconds=lambda: self.interval_seconds,
            clock=self.clock,
            on_change=lambda: self.statuses.append(self.status()),
        )
        try:
            yield self._captures
        finally:
            await self._captures.close()
            await self.tasks.close()

    @asynccontextmanager
    async def running(self, *, first: Saved | None = None) -> AsyncIterator[Captures]:
        """Have them run, too."""
        async with self.captured(first=first) as captures:
            self.tasks.spawn(captures.run(), name="run")
            await settle()
            yield captures

    async def until(self, condition: Callable[[], object]) -> None:
        """Let all that needs no time go on."""
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0)


class _Snapshots:
    """Gives copies by way of links to the same bytes: there is one, and it is dropped."""

    def __init__(self, volume: CapturedVolume) -> None:
        self._volume = volume
        self.taken_count = 0
        self.present = 0
        self.reclaims = 0
        self.failure: VolumeError | None = None

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[Path]:
        self.taken_count += 1
        assert self.present == 0, "one at a time"
        if self.failure is not None:
            raise self.failure
        path = self._volume.active.parent / f"snapshot-{self.taken_count}"
        (path / UPPER).mkdir(parents=True)
        for file in self._volume.upper.iterdir():
            (path / UPPER / file.name).write_bytes(file.read_bytes())
        self.present += 1
        try:
            yield path
        finally:
            await asyncio.sleep(0)
            self.present -= 1
            for file in (path / UPPER).iterdir():
                file.unlink()
            os.removedirs(path / UPPER)

    async def reclaim(self, mount_point: Path) -> None:
        assert mount_point == self._volume.active.parent
        self.reclaims += 1


class _Finder:
    """Knows of changes since the last commit, as btrfs does."""

    def __init__(self) -> None:
        self.commits = 0
        self.has_changes = True
        self._uncommitted = False

    async def find(self, snapshot: Path) -> Found:
        had_changes, self.has_changes = self.has_changes, False

        def commit() -> None:
            self.commits += 1
            self._uncommitted = False

        changes = (b"file",) if had_changes or self._uncommitted else ()
        self._uncommitted = bool(changes)
        return Found(snapshot / UPPER, changes if self.commits else None, commit)


async def caught(awaitable: object) -> BaseException | None:
    try:
        await awaitable  # type: ignore[misc]
    except Exception as error:  # noqa: BLE001 (whatever it is: the test looks at it)
        return error
    return None
