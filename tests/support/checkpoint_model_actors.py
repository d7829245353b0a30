"""What processes of a model do: run a Studio, read, look, collect, delete.

Each is a program of the real code, and what it may honestly fail with.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from checkpoints.collecting.collector import collect
from checkpoints.collecting.deleting import delete_checkpoint
from checkpoints.collecting.sweeping import Sweeper, SweepSettings
from checkpoints.format import names
from checkpoints.format.damage import DamagedError
from checkpoints.reading.restore import restore
from checkpoints.reading.verify import verify
from checkpoints.storage.failures import NotThereError, StorageAwayError
from checkpoints.writing.commit import FencedError
from checkpoints.writing.reliance import ParentBusyError, ParentGoneError
from checkpoints.writing.sealing import seal
from checkpoints.writing.writer import Writer
from tests.support.checkpoint_model_oracle import overlaid
from tests.support.checkpoint_model_reference import Committed
from tests.support.checkpoint_rig import read_back, seen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from checkpoints.format.ids import CheckpointId
    from checkpoints.format.names import Place
    from checkpoints.format.record import Record
    from checkpoints.repository import Repository
    from tests.support.checkpoint_model import Process, World
    from tests.support.checkpoint_model_oracle import Things
    from tests.support.checkpoint_model_reference import Reference

PATHS = (b"a", b"b", b"c", b"d", b"d/a", b"d/b", b"d/e", b"d/e/a", b"f", b"f/a")
CONTENTS = 6
"""So few that checkpoints often have the same."""
CONTENT_BYTES = (60, 300, 500, 900)
"""Below 193 they are in the tree itself."""
OPAQUE = b"trusted.overlay.opaque"


def content(number: int) -> bytes:
    """Return one of the contents that there are."""
    return random.Random(number).randbytes(CONTENT_BYTES[number % len(CONTENT_BYTES)])


@dataclass(eq=False)
class Run:
    """One start of a Studio: a volume over what was restored, and who saves it."""

    world: World
    process: Process
    checkpoint_id: CheckpointId
    run_number: int
    folder: Path
    base: Things | None = None
    asked_for: CheckpointId | None = None
    """The checkpoint that it wants to continue."""
    parent: Place | None = None
    writer: Writer | None = None
    sweeper: Sweeper | None = None
    touched: set[bytes] | None = field(default_factory=lambda: {b""})
    """What changed since the last commit, at first the volume's root; None if nobody knows."""
    is_over: bool = False
    """It was fenced, or has written its last."""

    @property
    def reference(self) -> Reference:
        return self.world.reference

    @property
    def is_ready(self) -> bool:
        return self.writer is not None and not self.is_over and not self.process.is_busy

    # ── Programs ──

    async def begin(self, parent_id: CheckpointId | None = None, *, seals: bool = True) -> None:
        """Begin a checkpoint, which continues another one if there is anything of it."""
        repository = await self.process.repository()
        self.asked_for = parent_id
        parent: Record | None = None
        if parent_id is not None and seals:
            parent = await seal(repository, parent_id, run_number=self.run_number)
            if parent is not None and parent_id not in self.reference.given_up:
                assert parent.place == self.reference.generations(parent_id)[0], (
                    "older than the last"
                )
        elif parent_id is not None:
            parent = (await repository.records(parent_id)).newest
        if parent is not None:
            self.parent = parent.place
            self.base = await read_back(repository, parent)
            assert self.base == self.reference.promised(parent).things
            self.process.writes = Committed(self.base, self.base)
        await self._open(repository, parent)

    async def go_on(self) -> None:
        """Begin again where an earlier process of this checkpoint ended."""
        repository = await self.process.repository()
        newest = (await repository.records(self.checkpoint_id)).newest
        if newest is not None:
            self.process.writes = self.reference.promised(newest)
            self.base = self.process.writes.base
        elif self.base is not None:
            self.is_over = True  # nothing was committed of what it continues: who knows what
            return
        await self._open(repository, None)

    async def _open(self, repository: Repository, parent: Record | None) -> None:
        self.writer = await Writer.open(
            repository, self.checkpoint_id, run_number=self.run_number, parent=parent
        )
        self.sweeper = Sweeper(repository, self.writer, SWEEPS_ALWAYS)

    async def write(self, *, is_final: bool = False, is_listed: bool = False) -> None:
        """Commit what there is."""
        assert self.writer is not None
        upper = seen(self.folder)
        things = upper if self.base is None else overlaid(self.base, upper)
        self.process.writes = Committed(things, self.base)
        changes = sorted(self.touched) if is_listed and self.touched is not None else None
        record = await self.writer.write(self.folder, changes=changes, final=is_final)
        assert record.place not in self.reference.ghosts, f"{record.place} was called a success"
        assert self.reference.promised(record).things == things
        self.touched = set()
        self.is_over = is_final

    async def sweep(self) -> None:
        """Delete what only this run's older generations needed."""
        assert self.sweeper is not None
        await self.sweeper.sweep()

    def permits(self, error: BaseException) -> bool:
        """Say whether a failure is honest."""
        self.is_over = self.is_over or not isinstance(error, StorageAwayError)
        match error:
            case FencedError():
                return self._is_superseded()
            case ParentGoneError() | NotThereError() | DamagedError():
                ids = {self.checkpoint_id, self.parent.checkpoint_id if self.parent else None}
                return bool(ids & self.reference.given_up) or self._is_superseded()
            case ParentBusyError():
                return self.parent is not None
            case StorageAwayError():
                return self.process.gate.losses > 0
            case _:
                return False

    def _is_superseded(self) -> bool:
        """Say whether others have written to the checkpoint, or to the one that it continues."""
        ids = {self.checkpoint_id, self.asked_for}
        authors = self.reference.authors.items()
        return any(
            place.checkpoint_id in ids and author is not self.process for place, author in authors
        )

    # ── What the Studio's user does ──

    def edit(self, kind: str, path: bytes, number: int) -> None:
        """Change the volume as a program in the session would, if it can be done there."""
        where = os.path.join(os.fsencode(self.folder), path)
        if not os.path.isdir(os.path.dirname(where)):
            return
        status = _status(where)
        is_folder = status is not None and stat.S_ISDIR(status.st_mode)
        match kind:
            case "write" if not is_folder:
                with suppress(FileNotFoundError):
                    os.unlink(where)
                _create(where, content(number))
            case "append" if status is not None and stat.S_ISREG(status.st_mode):
                with open(where, "ab") as file:
                    file.write(content(number))
            case "mkdir" if status is None:
                os.mkdir(where)
            case "remove" if status is not None:
                shutil.rmtree(where) if is_folder else os.unlink(where)
            case "whiteout" if not is_folder:
                with suppress(FileNotFoundError):
                    os.unlink(where)
                os.mknod(where, stat.S_IFCHR | 0o000, os.makedev(0, 0))
            case "opaque" if is_folder:
                os.setxattr(where, OPAQUE, b"y")
            case "mode" if status is not None and not stat.S_ISCHR(status.st_mode):
                os.chmod(where, 0o700 + number)
            case _:
                return
        if self.touched is not None:
            self.touched |= {path, path.rpartition(b"/")[0]}


def _status(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _create(path: bytes, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)


TIDIED_UP_AFTER = timedelta(hours=48)
SWEEPS_ALWAYS = SweepSettings(written_bytes_min=0, written_share_min=0)

EDITS: Sequence[str] = (
    "write", "write", "write", "append", "mkdir", "remove", "whiteout", "opaque", "mode",
)  # fmt: skip


@dataclass(eq=False)
class Reader:
    """Somebody who wants a generation that was seen once."""

    world: World
    process: Process
    place: Place

    async def read(self, folder: Path | None = None) -> None:
        """Read all of it; with a folder, as a restore."""
        repository = await self.process.repository()
        record = await repository.record(self.place)
        if self.place in self.world.reference.ghosts:
            return  # who names it has it; nobody was told of it
        expected = self.world.reference.promised(record).things
        if folder is None:
            assert await read_back(repository, record) == expected
        else:
            await restore(repository, record, folder)
            assert seen(folder) == expected

    def permits(self, error: BaseException) -> bool:
        """What was deleted is gone; nothing else may be missing."""
        if isinstance(error, (NotThereError, DamagedError)):
            return names.record(self.place) not in self.world.store.objects
        return isinstance(error, StorageAwayError) and self.process.gate.losses > 0


@dataclass(eq=False)
class Collector:
    """Somebody who frees what nobody needs."""

    process: Process
    began: timedelta = timedelta()

    async def collect(self) -> None:
        """Nothing was ever damaged here, so nothing is in its way."""
        found = await collect(await self.process.repository())
        assert not found.is_blocked, found.problems

    def permits(self, error: BaseException) -> bool:
        if isinstance(error, NotThereError):  # its own probe: another one has tidied up
            return self.process.gate.store.elapsed - self.began > TIDIED_UP_AFTER
        return isinstance(error, StorageAwayError) and self.process.gate.losses > 0


@dataclass(eq=False)
class Deleter:
    """Somebody who wants a checkpoint no more."""

    world: World
    process: Process
    checkpoint_id: CheckpointId

    async def delete(self) -> None:
        repository = await self.process.repository()
        self.world.reference.given_up.add(self.checkpoint_id)
        await delete_checkpoint(repository, self.checkpoint_id, even_if_written=True)

    def permits(self, error: BaseException) -> bool:
        """A later run may have come between."""
        if isinstance(error, StorageAwayError):
            return self.process.gate.losses > 0
        return isinstance(error, FencedError)


@dataclass(eq=False)
class Looker:
    """Somebody who asks whether all is well."""

    process: Process

    async def verify(self) -> None:
        """Nothing was ever damaged here."""
        found = await verify(await self.process.repository())
        assert found.is_sound, (found.damages, found.losses)
        assert not found.foreign

    def permits(self, error: BaseException) -> bool:
        return isinstance(error, StorageAwayError) and self.process.gate.losses > 0
