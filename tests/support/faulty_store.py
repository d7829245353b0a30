"""A store around another that fails as stores do, by a script or by a seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum, auto
from typing import TYPE_CHECKING, TypeVar

from checkpoints.storage.failures import (
    AlreadyThereError,
    NotPermittedError,
    StorageAwayError,
    StorageBrokenError,
    StorageFullError,
)

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from checkpoints.storage.storage import Listed, Part, Range, Storage


T = TypeVar("T")


class Fault(StrEnum):
    """What one operation may meet."""

    ERROR_500 = auto()
    BUSY_503 = auto()
    CONFLICT_409 = auto()
    """A creation meets another, and neither is known to have won. Nothing was written."""
    EXISTS_412 = auto()
    """A creation is told that the object exists, and it doesn't: the other one was deleted."""
    TIMEOUT_BEFORE = auto()
    TIMEOUT_AFTER = auto()
    """The operation happened; its answer is lost."""
    TRUNCATED = auto()
    """A read ends early, and the store notices."""
    FLIPPED_BIT = auto()
    """A read has a wrong bit, and nobody notices but who checks hashes."""
    SPOILT_CREATION = auto()
    """What is stored has another bit than what was sent, and nobody notices."""
    NOT_PERMITTED = auto()
    FULL = auto()


PASSING = (
    Fault.ERROR_500,
    Fault.BUSY_503,
    Fault.CONFLICT_409,
    Fault.TIMEOUT_BEFORE,
    Fault.TIMEOUT_AFTER,
)
"""Those that trying again gets over."""

READS = ("get", "get_range", "get_suffix", "get_ranges")


class Cut(Exception):  # noqa: N818 (not a failure of the store: the writer's process is gone)
    """The process ended here: nothing of what it would do after this happens."""


@dataclass
class Faults:
    """When which fault comes. All may be set at once; the script goes first."""

    script: dict[int, Fault] | None = None
    """By number of the operation, from 0."""
    rate: float = 0.0
    kinds: Sequence[Fault] = PASSING
    rng: random.Random | None = None
    """Needed for a rate: the same seed gives the same faults to the same operations."""
    cut_after: int | None = None
    """So many operations happen; the next one and all later ones raise `Cut`."""
    may_delete: bool = True
    clock_skew: timedelta = timedelta()
    """How far the store's clock is ahead, in listings."""


class FaultyStore:
    """A `Storage` that counts its operations and fails as `faults` says."""

    def __init__(self, inner: Storage, faults: Faults | None = None) -> None:
        self.inner = inner
        self.faults = faults or Faults()
        self.counts: Counter[str] = Counter()
        self.met: list[Fault] = []

    @property
    def operations(self) -> int:
        """How many were begun; a listing is one."""
        return self.counts.total()

    async def get(self, key: str) -> bytes:
        fault = self._next("get", key)
        return bytes(_spoilt(await self._do("get", key, fault, lambda: self.inner.get(key)), fault))

    async def get_range(self, key: str, start: int, length: int) -> Part:
        fault = self._next("get_range", key)
        data = await self._do(
            "get_range", key, fault, lambda: self.inner.get_range(key, start, length)
        )
        return _spoilt(data, fault)

    async def get_suffix(self, key: str, length: int) -> Part:
        fault = self._next("get_suffix", key)
        data = await self._do("get_suffix", key, fault, lambda: self.inner.get_suffix(key, length))
        return _spoilt(data, fault)

    async def get_ranges(self, key: str, ranges: Sequence[Range]) -> Sequence[Part]:
        fault = self._next("get_ranges", key)
        pieces = await self._do(
            "get_ranges", key, fault, lambda: self.inner.get_ranges(key, ranges)
        )
        return [_spoilt(piece, fault) for piece in pieces[:1]] + list(pieces[1:])

    async def put_new(self, key: str, data: bytes) -> None:
        fault = self._next("put_new", key)
        if fault is Fault.EXISTS_412:
            raise AlreadyThereError(f"{key} is there already", operation="put_new", key=key)
        if fault is Fault.SPOILT_CREATION:
            data = flipped(data)
        await self._do("put_new", key, fault, lambda: self.inner.put_new(key, data))

    async def delete(self, key: str) -> None:
        fault = self._next("delete", key)
        if not self.faults.may_delete:
            fault = Fault.NOT_PERMITTED
        await self._do("delete", key, fault, lambda: self.inner.delete(key))

    async def size(self, key: str) -> int:
        fault = self._next("size", key)
        return await self._do("size", key, fault, lambda: self.inner.size(key))

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        """Fail, where it is to, after the first object: a listing is many requests."""
        fault = self._next("list", prefix)
        _raise_before("list", prefix, fault)
        async for listed in self.inner.list(prefix, after=after):
            yield replace(listed, modified=listed.modified + self.faults.clock_skew)
            _raise_after("list", prefix, fault)

    def _next(self, operation: str, key: str) -> Fault | None:
        number = self.operations
        faults = self.faults
        if faults.cut_after is not None and number >= faults.cut_after:
            raise Cut(f"cut before operation {number}: {operation} of {key}")
        self.counts[operation] += 1
        fault = (faults.script or {}).get(number)
        if fault is None and faults.rate and faults.rng and faults.rng.random() < faults.rate:
            fault = faults.rng.choice(faults.kinds)
        if fault is not None:
            self.met.append(fault)
        return fault

    async def _do(
        self, operation: str, key: str, fault: Fault | None, act: Callable[[], Awaitable[T]]
    ) -> T:
        _raise_before(operation, key, fault)
        answer = await act()
        _raise_after(operation, key, fault)
        return answer


def _raise_before(operation: str, key: str, fault: Fault | None) -> None:
    sentence = f"{operation} of {key} failed: {fault}"
    match fault:
        case Fault.ERROR_500 | Fault.BUSY_503 | Fault.TIMEOUT_BEFORE:
            raise StorageAwayError(sentence, operation=operation, key=key)
        case Fault.CONFLICT_409 if operation == "put_new":
            raise StorageAwayError(sentence, operation=operation, key=key)
        case Fault.NOT_PERMITTED:
            raise NotPermittedError(sentence, operation=operation, key=key)
        case Fault.FULL if operation == "put_new":
            raise StorageFullError(sentence, operation=operation, key=key)
        case Fault.TRUNCATED if operation in READS:
            raise StorageBrokenError(sentence, operation=operation, key=key)
        case _:
            pass


def _raise_after(operation: str, key: str, fault: Fault | None) -> None:
    if fault is Fault.TIMEOUT_AFTER:
        sentence = f"{operation} of {key} failed: its answer was lost"
        raise StorageAwayError(sentence, operation=operation, key=key)


def _spoilt(data: Part, fault: Fault | None) -> Part:
    return flipped(data) if fault is Fault.FLIPPED_BIT and data else data


def flipped(data: Part) -> bytes:
    """Return the same with a bit in the middle turned around."""
    spoilt = bytearray(data)
    spoilt[len(data) // 2] ^= 0x10
    return bytes(spoilt)
