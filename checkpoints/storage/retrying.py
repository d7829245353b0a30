"""Tries again what may pass, and finds out what became of a creation.

A creation whose answer was lost may have happened. So after one uncertain try, "already there" is
no answer either: the object is read back, and is ours if its bytes are. That is safe because the
bytes of whatever two writers could both want to create (records) have the writer's own digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import structlog

from checkpoints.storage.failures import AlreadyThereError, NotThereError, StorageError
from common.backoff import Backoff

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from checkpoints.storage.storage import Listed, Part, Range, Storage
    from common.clock import Clock

T = TypeVar("T")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long a store may be away until an operation fails.

    The defaults outlast what stores call an incident of seconds (a node that restarts, throttling):
    eight tries within 15 to 30 s. Longer outages are for the caller, who knows what waits for it.
    """

    tries_max: int = 8
    first_seconds: float = 0.25
    seconds_max: float = 10.0


class Retrying:
    """A `Storage` that fails only after several tries, or where trying again can't help."""

    def __init__(
        self,
        inner: Storage,
        *,
        clock: Clock,
        rng: random.Random,
        policy: RetryPolicy = RetryPolicy(),
    ) -> None:
        self._inner = inner
        self._clock = clock
        self._rng = rng
        self._policy = policy

    async def get(self, key: str) -> bytes:
        return await self._tried(lambda: self._inner.get(key))

    async def get_range(self, key: str, start: int, length: int) -> Part:
        return await self._tried(lambda: self._inner.get_range(key, start, length))

    async def get_suffix(self, key: str, length: int) -> Part:
        return await self._tried(lambda: self._inner.get_suffix(key, length))

    async def get_ranges(self, key: str, ranges: Sequence[Range]) -> Sequence[Part]:
        return await self._tried(lambda: self._inner.get_ranges(key, ranges))

    async def delete(self, key: str) -> None:
        await self._tried(lambda: self._inner.delete(key))

    async def size(self, key: str) -> int:
        return await self._tried(lambda: self._inner.size(key))

    async def put_new(self, key: str, data: bytes) -> None:
        tries = Tries(self._policy, self._clock, self._rng)
        while True:
            try:
                return await self._inner.put_new(key, data)
            except AlreadyThereError:
                if tries.failed and await self._is(key, data):
                    return None
                raise
            except StorageError as error:
                if await tries.again(error):
                    continue
                if error.retry_helps and await self._is(key, data):
                    return None
                raise

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        """Go on behind the last key that came, each of which starts the counting anew."""
        tries = Tries(self._policy, self._clock, self._rng)
        while True:
            try:
                async for listed in self._inner.list(prefix, after=after):
                    after = listed.key
                    tries.reset()
                    yield listed
            except StorageError as error:
                if not await tries.again(error):
                    raise
            else:
                return

    async def _tried(self, operation: Callable[[], Awaitable[T]]) -> T:
        tries = Tries(self._policy, self._clock, self._rng)
        while True:
            try:
                return await operation()
            except StorageError as error:
                if not await tries.again(error):
                    raise

    async def _is(self, key: str, data: bytes) -> bool:
        """Say whether the object is what was to be created; False as well if nobody knows."""
        try:
            return await self.get(key) == data
        except NotThereError:
            return False
        except StorageError as error:
            _log.info("storage_read_back_failed", key=key, reason=str(error))
            return False


class Tries:
    """The tries of one operation: how many failed, and whether there is another."""

    def __init__(self, policy: RetryPolicy, clock: Clock, rng: random.Random) -> None:
        self._policy = policy
        self._clock = clock
        self._backoff = Backoff(
            first_seconds=policy.first_seconds, seconds_max=policy.seconds_max, rng=rng
        )
        self.failed = 0

    def reset(self) -> None:
        self.failed = 0
        self._backoff.reset()

    async def again(self, error: StorageError) -> bool:
        """Wait before the next try, and return True; False if there is none."""
        if not error.retry_helps:
            return False
        self.failed += 1
        if self.failed >= self._policy.tries_max:
            error.add_note(f"tried {self.failed} times")
            return False
        pause = self._backoff.next_seconds()
        _log.info(
            "storage_retry",
            operation=error.operation,
            key=error.key,
            failed=self.failed,
            pause_seconds=round(pause, 2),
            reason=str(error),
        )
        await self._clock.sleep(pause)
        return True
