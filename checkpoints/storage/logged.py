"""Counts what a store is asked and how long it takes, for metrics and progress."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from checkpoints.storage.failures import AlreadyThereError, NotThereError, StorageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from checkpoints.storage.storage import Listed, Part, Range, Storage
    from common.clock import Clock

SLOW_SECONDS = 10.0
"""An operation that takes longer is worth a line: 16 MiB at 13 Mbit/s."""

_log = structlog.get_logger()


@dataclass(slots=True)
class Tally:
    """All operations of one name, since the start."""

    operations: int = 0
    failures: int = 0
    """Without "not there" and "already there": those are answers."""
    bytes: int = 0
    seconds: float = 0.0


class Logged:
    """A `Storage` that keeps a tally of each operation, and logs failures and what is slow."""

    def __init__(self, inner: Storage, *, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self._tallies: dict[str, Tally] = {}

    @property
    def tallies(self) -> Mapping[str, Tally]:
        """By name of operation; those that were never called are missing."""
        return self._tallies

    async def get(self, key: str) -> bytes:
        with self._counted("get", key) as tally:
            data = await self._inner.get(key)
            tally.bytes += len(data)
            return data

    async def get_range(self, key: str, start: int, length: int) -> Part:
        with self._counted("get_range", key) as tally:
            data = await self._inner.get_range(key, start, length)
            tally.bytes += len(data)
            return data

    async def get_suffix(self, key: str, length: int) -> Part:
        with self._counted("get_suffix", key) as tally:
            data = await self._inner.get_suffix(key, length)
            tally.bytes += len(data)
            return data

    async def get_ranges(self, key: str, ranges: Sequence[Range]) -> Sequence[Part]:
        with self._counted("get_ranges", key) as tally:
            pieces = await self._inner.get_ranges(key, ranges)
            tally.bytes += sum(map(len, pieces))
            return pieces

    async def put_new(self, key: str, data: bytes) -> None:
        with self._counted("put_new", key) as tally:
            await self._inner.put_new(key, data)
            tally.bytes += len(data)

    async def delete(self, key: str) -> None:
        with self._counted("delete", key):
            await self._inner.delete(key)

    async def size(self, key: str) -> int:
        with self._counted("size", key):
            return await self._inner.size(key)

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        """Counted as one operation without its time, in which the consumer's would be hidden."""
        tally = self._tallies.setdefault("list", Tally())
        tally.operations += 1
        try:
            async for listed in self._inner.list(prefix, after=after):
                yield listed
        except StorageError as error:
            tally.failures += 1
            _log.info("storage_failed", operation="list", key=prefix, reason=str(error))
            raise

    @contextmanager
    def _counted(self, operation: str, key: str) -> Iterator[Tally]:
        tally = self._tallies.setdefault(operation, Tally())
        tally.operations += 1
        began = self._clock.monotonic()
        try:
            yield tally
        except (NotThereError, AlreadyThereError):
            raise
        except StorageError as error:
            tally.failures += 1
            _log.info("storage_failed", operation=operation, key=key, reason=str(error))
            raise
        finally:
            seconds = self._clock.monotonic() - began
            tally.seconds += seconds
            if seconds > SLOW_SECONDS:
                _log.info("storage_slow", operation=operation, key=key, seconds=round(seconds, 1))
