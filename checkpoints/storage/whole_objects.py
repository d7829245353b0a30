"""Parts of objects, where a store gives only whole ones.

Readers ask for many parts of few packs, one after the other and several at once. So the objects
that were read last stay in memory, and who asks for one that is on its way waits for it.

Who asks for the same part again may doubt what came: a bit may have been lost on the way, though
not in the store. Then the object is read anew; once the same came twice, nobody has to doubt it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from blake3 import blake3

from checkpoints.storage.failures import StorageBrokenError
from checkpoints.storage.storage import Range

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from common.threads import Threads

HELD_BYTES_MAX = 32 << 20
"""Of all objects together: three or four packs of the usual size, two of the largest."""

READS_AT_ONCE = 3
"""Each may be a pack of 16 MiB, though whoever limits what is in flight knows only of a part."""


Asked = Range | int
"""A part: a range, or the length of a suffix."""


@dataclass(slots=True)
class _Held:
    whole: memoryview
    given: set[Asked] = field(default_factory=set)
    is_sure: bool = False
    """Whether it came twice, and was the same."""


class WholeObjects:
    """The objects that were read last, and parts of them. Belongs to one event loop."""

    def __init__(
        self,
        read: Callable[[str], Awaitable[memoryview]],
        threads: Threads,
        *,
        bytes_max: int = HELD_BYTES_MAX,
    ) -> None:
        """Read with `read`, which raises what a storage does; compare in `threads`."""
        self._read = read
        self._threads = threads
        self._bytes_max = bytes_max
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._held_bytes = 0
        self._places = asyncio.Semaphore(READS_AT_ONCE)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._coming: set[str] = set()

    async def parts(self, key: str, ranges: Sequence[Range]) -> list[memoryview]:
        """Return the bytes of each range. Raises StorageBrokenError if the object ends earlier."""
        held = await self._get(key, ranges)
        size = len(held.whole)
        if any(wanted.end > size for wanted in ranges):
            raise ends_early(key, size)
        return [held.whole[wanted.start : wanted.end] for wanted in ranges]

    async def suffix(self, key: str, length: int) -> memoryview:
        """Return the last `length` bytes, or everything when the object is not longer."""
        held = await self._get(key, [length])
        return held.whole[-length:]

    def forget(self, key: str) -> None:
        """Hold an object no longer: it is about to come or go."""
        self._coming.discard(key)
        if (held := self._held.pop(key, None)) is not None:
            self._held_bytes -= len(held.whole)

    async def _get(self, key: str, asked: Sequence[Asked]) -> _Held:
        async with self._locks.setdefault(key, asyncio.Lock()):
            held = self._held.get(key)
            if held is None:
                held = await self._read_anew(key)
            elif not held.is_sure and not held.given.isdisjoint(asked):
                before, held = held.whole, await self._read_anew(key)
                held.is_sure = await self._threads.run(_are_same, before, held.whole)
            else:
                self._held.move_to_end(key)
            held.given.update(asked)
            return held

    async def _read_anew(self, key: str) -> _Held:
        self.forget(key)
        async with self._places:
            self._coming.add(key)
            try:
                held = _Held(await self._read(key))
                may_hold = key in self._coming
            finally:
                self._coming.discard(key)
        if may_hold:
            self._held[key] = held
            self._held_bytes += len(held.whole)
        while self._held_bytes > self._bytes_max:
            _, oldest = self._held.popitem(last=False)
            self._held_bytes -= len(oldest.whole)
        return held


def _are_same(one: memoryview, other: memoryview) -> bool:
    """Compare hashes: comparing views holds Python's lock, and takes ten times as long."""
    return blake3(one).digest() == blake3(other).digest()


def ends_early(key: str, size: int) -> StorageBrokenError:
    """Return what is raised when an object ends before what was to be read."""
    sentence = f"{key} ends after {size} bytes, before the end of what was to be read"
    return StorageBrokenError(sentence, operation="get_range", key=key)
