"""The fake: a folder that counts. It passes the contract's tests, and fails when told to.

Programs' files are real files in a folder; the sizes are numbers, so that a test writes terabytes
in no time (`written_bytes`).
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from agent.volume.volume import (
    BackingDiskFullError,
    CannotResizeError,
    ImageMissingError,
    NotAttachedError,
    SnapshotExistsError,
    Space,
    StillInUseError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from agent.volume.volume import VolumeError
    from common.session_spec import VolumeLimits


class MemoryVolume:
    """A volume whose image is the folder `image`, renamed to `volume` while it is attached."""

    def __init__(
        self, folder: Path, limits: VolumeLimits, *, host_free_bytes: int = 10**15
    ) -> None:
        self._image = folder / "image"
        self.mount_point = folder / "volume"
        self._limits = limits
        self._attached = False
        self._size_bytes = min(limits.initial_bytes, limits.limit_bytes)
        self.written_bytes = 0
        """What programs have written besides the files that are there."""
        self.deleted_bytes = 0
        """What they have deleted of it; used as before until the volume settles."""
        self.metadata_free_bytes: int | None = None
        """Room for names; None means as much as for data."""
        self.host_free_bytes = host_free_bytes
        """What the host's disk could still give."""
        self.failures: list[VolumeError] = []
        """Raised by the next calls of `grow` and `measure`, one each."""
        self.in_use = False
        """Processes hold files open."""
        self.grow_calls: list[int] = []
        """Steps asked for, by call."""

    async def create(self) -> None:
        if self._image.exists() or self._attached:
            return
        if self.host_free_bytes < self._size_bytes:
            raise BackingDiskFullError("the host's disk has no room for the volume")
        self._image.mkdir(parents=True)
        self.host_free_bytes -= self._size_bytes

    async def attach(self) -> Path:
        if self._attached:
            return self.mount_point
        if not self._image.exists():
            raise ImageMissingError(f"the volume's image {self._image} does not exist")
        self._image.rename(self.mount_point)
        self._attached = True
        for name in ("upper", "work"):
            (self.mount_point / "active" / name).mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._snapshots, ignore_errors=True)
        self._snapshots.mkdir()
        return self.mount_point

    @property
    def _snapshots(self) -> Path:
        return self.mount_point / "snapshots"

    @property
    def takes_snapshots(self) -> bool:
        self._require_attached()
        return True

    async def weakness(self) -> str:
        self._require_attached()
        return ""

    async def snapshot(self, name: str) -> Path:
        self._require_attached()
        path = self._snapshots / name
        if path.exists():
            raise SnapshotExistsError(f"there is a snapshot {name!r} already")
        shutil.copytree(self.mount_point / "active", path, symlinks=True)
        return path

    async def drop_snapshot(self, name: str) -> None:
        self._require_attached()
        shutil.rmtree(self._snapshots / name, ignore_errors=True)

    async def true_free(self) -> int:
        return (await self.measure()).true_free_bytes

    async def measure(self) -> Space:
        self._require_attached()
        self._fail_if_told()
        files = sum(path.lstat().st_size for path in self.mount_point.rglob("*") if path.is_file())
        used_bytes = files + self.written_bytes + self.deleted_bytes
        free_bytes = max(0, self._size_bytes - used_bytes)
        return Space(
            size_bytes=self._size_bytes,
            true_free_bytes=free_bytes,
            metadata_free_bytes=(
                free_bytes if self.metadata_free_bytes is None else self.metadata_free_bytes
            ),
            host_free_bytes=free_bytes + self.host_free_bytes,
        )

    async def settle(self) -> None:
        self._require_attached()
        self.deleted_bytes = 0

    async def grow(self, steps: int) -> int:
        assert steps > 0, "growing is by at least one step"
        self._require_attached()
        self.grow_calls.append(steps)
        self._fail_if_told()
        step_bytes = self._limits.step_bytes
        target = min(self._size_bytes + steps * step_bytes, self._limits.limit_bytes)
        if target <= self._size_bytes:
            return self._size_bytes
        while target > self._size_bytes + self.host_free_bytes:
            target -= step_bytes
        if target <= self._size_bytes:
            raise BackingDiskFullError("the host's disk is full")
        self.host_free_bytes -= target - self._size_bytes
        self._size_bytes = target
        return target

    async def shrink(self) -> int:
        space = await self.measure()
        step_bytes = self._limits.step_bytes
        if space.size_bytes - step_bytes < self._limits.initial_bytes:
            return space.size_bytes
        if space.true_free_bytes - step_bytes < self._limits.free_bytes_min:
            raise CannotResizeError("the volume can't shrink now: its space is in use")
        self._size_bytes -= step_bytes
        self.host_free_bytes += step_bytes
        return self._size_bytes

    async def detach(self, *, patient: bool = True) -> None:
        if not self._attached:
            return
        if self.in_use:
            raise StillInUseError("processes hold files of the volume open")
        self.mount_point.rename(self._image)
        self._attached = False

    def _require_attached(self) -> None:
        if not self._attached:
            raise NotAttachedError("the volume is not attached")

    def _fail_if_told(self) -> None:
        if self.failures:
            raise self.failures.pop(0)
