"""A store in memory whose clock is stepped, that can be copied, and that tells what happens to it.

It is what all processes of a model share. Everything happens at once and without waiting: who may
go on when is decided by the gates before it (`checkpoint_model_gate`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from checkpoints.storage.failures import AlreadyThereError, NotThereError, StorageBrokenError
from checkpoints.storage.storage import Listed, check_key, check_prefix

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from checkpoints.storage.storage import Range

START = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Held:
    """An object."""

    data: bytes
    modified: datetime


def _nothing(key: str) -> None:
    pass


class SimulatedStore:
    """A `Storage`. `now` is its clock."""

    def __init__(self) -> None:
        self.objects: dict[str, Held] = {}
        self.elapsed = timedelta()
        self.created: Callable[[str], None] = _nothing
        """Called after each creation, with the key."""
        self.deleted: Callable[[str], None] = _nothing
        """Called after each deletion of what was there."""

    @property
    def now(self) -> datetime:
        return START + self.elapsed

    def copy(self) -> SimulatedStore:
        """Return one that goes its own way from here, and tells nobody."""
        found = SimulatedStore()
        found.objects = dict(self.objects)
        found.elapsed = self.elapsed
        return found

    # ── At once ──

    def read(self, operation: str, key: str) -> bytes:
        check_key(key)
        found = self.objects.get(key)
        if found is None:
            raise NotThereError(f"{key} is not there", operation=operation, key=key)
        return found.data

    def read_range(self, key: str, start: int, length: int) -> bytes:
        found = self.read("get_range", key)[start : start + length]
        if len(found) < length:
            raise StorageBrokenError(f"{key} ends early", operation="get_range", key=key)
        return found

    def create(self, key: str, data: bytes) -> None:
        check_key(key)
        if key in self.objects:
            raise AlreadyThereError(f"{key} is there already", operation="put_new", key=key)
        self.objects[key] = Held(bytes(data), self.now)
        self.created(key)

    def remove(self, key: str) -> None:
        check_key(key)
        if self.objects.pop(key, None) is not None:
            self.deleted(key)

    def page(self, prefix: str, after: str, count: int | None = None) -> list[Listed]:
        """Return the next objects of a listing."""
        check_prefix(prefix)
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        found = ((key, self.objects[key]) for key in keys[:count])
        return [Listed(key, len(held.data), held.modified) for key, held in found]

    # ── As a Storage ──

    async def get(self, key: str) -> bytes:
        return self.read("get", key)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        return self.read_range(key, start, length)

    async def get_suffix(self, key: str, length: int) -> bytes:
        return self.read("get_suffix", key)[-length:]

    async def get_ranges(self, key: str, ranges: Sequence[Range]) -> Sequence[bytes]:
        return [self.read_range(key, each.start, each.length) for each in ranges]

    async def put_new(self, key: str, data: bytes) -> None:
        self.create(key, data)

    async def delete(self, key: str) -> None:
        self.remove(key)

    async def size(self, key: str) -> int:
        return len(self.read("size", key))

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        for listed in self.page(prefix, after):
            yield listed
