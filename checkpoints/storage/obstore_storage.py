"""Buckets of S3, GCS and Azure, and memory, through obstore.

obstore must be told not to try again by itself (`opening` does): a creation that it repeats after a
time-out meets its own object, and says that somebody else was first.

What it read is its own memory, seen through views: it isn't copied, and freed with the last view.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError

from checkpoints.storage import coalescing
from checkpoints.storage.failures import (
    NotThereError,
    StorageAwayError,
    StorageBrokenError,
    require_whole,
)
from checkpoints.storage.storage import (
    WHOLE_BYTES_MAX,
    Listed,
    Range,
    check_key,
    check_prefix,
    is_key,
)
from checkpoints.storage.translation import from_obstore
from checkpoints.storage.whole_objects import WholeObjects, ends_early
from common.threads import Threads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from obstore import GetOptions, GetResult
    from obstore.store import ObjectStore

    from checkpoints.storage.coalescing import Span
    from checkpoints.storage.storage import Part

SPANS_AT_ONCE = 4
"""Requests for one `get_ranges`: hides the latency of a few far-away pieces of one object."""

IGNORES_RANGES = "Received non-partial response when range requested"
"""obstore's words for status 200 instead of 206. `rclone serve s3` answers so, and lakeFS."""

COPIED_AT_ONCE = 1 << 20
"""The event loop waits while Python copies so much: some 0.2 ms."""

FOREIGN = (BaseError, OSError, ValueError)
"""What obstore raises: its own, and two of Python's for missing objects and wrong arguments."""


class ObstoreStorage:
    """A `Storage` in a bucket, or in memory."""

    def __init__(
        self, store: ObjectStore, *, has_suffixes: bool = True, has_ranges: bool = True
    ) -> None:
        self._store = store
        self._has_suffixes = has_suffixes
        self._has_ranges = has_ranges
        # One of its own: those of the event loop may all wait for what is to be done here.
        self._threads = Threads(1, "obstore-storage")
        self._whole_objects = WholeObjects(self._read, self._threads)

    @property
    def has_ranges(self) -> bool:
        """Whether the store was never seen to ignore a range; if not, see `whole_objects`."""
        return self._has_ranges

    async def get(self, key: str) -> bytes:
        check_key(key)
        try:
            result = await obstore.get_async(self._store, key)
            require_whole(result.range[1], key, WHOLE_BYTES_MAX)
            if result.range[1] <= COPIED_AT_ONCE:
                return bytes(await _received(result, key))
            pieces = [bytes(piece) async for piece in result.stream(COPIED_AT_ONCE)]
        except FOREIGN as error:
            raise from_obstore(error, "get", key) from error
        _check_length(sum(map(len, pieces)), result, key)
        # Python lets go of its lock while it joins these, for they are bytes and large.
        return await self._threads.run(b"".join, pieces)

    async def get_range(self, key: str, start: int, length: int) -> Part:
        check_key(key)
        if not self._has_ranges:
            return (await self._whole_objects.parts(key, [Range(start, length)]))[0]
        try:
            options: GetOptions = {"range": (start, start + length)}
            result = await obstore.get_async(self._store, key, options=options)
            data = await _received(result, key)
        except FOREIGN as error:
            if IGNORES_RANGES not in str(error):
                raise from_obstore(error, "get_range", key) from error
            self._has_ranges = False
            return await self.get_range(key, start, length)
        if result.range != (start, start + length):
            raise ends_early(key, result.range[1])
        return data

    async def get_suffix(self, key: str, length: int) -> Part:
        check_key(key)
        if not self._has_suffixes:
            size = await self.size(key)
            return (
                await self.get_range(key, max(0, size - length), min(size, length)) if size else b""
            )
        if not self._has_ranges:
            return await self._whole_objects.suffix(key, length)
        try:
            options: GetOptions = {"range": {"suffix": length}}
            return await _received(await obstore.get_async(self._store, key, options=options), key)
        except FOREIGN as error:
            if IGNORES_RANGES in str(error):
                self._has_ranges = False
            elif not isinstance(from_obstore(error, "get_suffix", key), StorageBrokenError):
                raise from_obstore(error, "get_suffix", key) from error
        # Also after 416, with which some stores answer for an object shorter than `length`.
        return (await self._read(key))[-length:]

    async def get_ranges(self, key: str, ranges: Sequence[Range]) -> Sequence[Part]:
        check_key(key)
        if not self._has_ranges and ranges:
            return await self._whole_objects.parts(key, ranges)
        spans = coalescing.plan(ranges)
        pieces = await self._read_spans(key, spans)
        return coalescing.cut(ranges, zip(spans, pieces, strict=True))

    async def put_new(self, key: str, data: bytes) -> None:
        check_key(key)
        self._whole_objects.forget(key)
        try:
            await obstore.put_async(self._store, key, data, mode="create", use_multipart=False)
        except FOREIGN as error:
            raise from_obstore(error, "put_new", key) from error

    async def delete(self, key: str) -> None:
        check_key(key)
        self._whole_objects.forget(key)
        try:
            await obstore.delete_async(self._store, key)
        except FOREIGN as error:
            failure = from_obstore(error, "delete", key)
            if not isinstance(failure, NotThereError):
                raise failure from error

    async def size(self, key: str) -> int:
        check_key(key)
        try:
            return (await obstore.head_async(self._store, key))["size"]
        except FOREIGN as error:
            raise from_obstore(error, "size", key) from error

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        check_prefix(prefix)
        try:
            pages = obstore.list(self._store, prefix.rstrip("/") or None, offset=after or None)
            async for page in pages:
                for found in page:
                    key = found["path"]
                    # obstore drops a slash at the end of `after`, and then begins earlier.
                    if is_key(key) and key.startswith(prefix) and key > after:
                        yield Listed(key, found["size"], found["last_modified"])
        except FOREIGN as error:
            raise from_obstore(error, "list", prefix) from error

    async def _read(self, key: str) -> memoryview:
        try:
            result = await obstore.get_async(self._store, key)
            require_whole(result.range[1], key, WHOLE_BYTES_MAX)
            return await _received(result, key)
        except FOREIGN as error:
            raise from_obstore(error, "get", key) from error

    async def _read_spans(self, key: str, spans: Sequence[Span]) -> Sequence[Part]:
        if len(spans) == 1:
            return [await self.get_range(key, spans[0].start, spans[0].length)]
        places = asyncio.Semaphore(SPANS_AT_ONCE)

        async def read(span: Span) -> Part:
            async with places:
                return await self.get_range(key, span.start, span.length)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(read(span)) for span in spans]
        except BaseExceptionGroup as failures:
            # One failure is as good as all: they are about the same object.
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]


async def _received(result: GetResult, key: str) -> memoryview:
    """Return the body, which must be as long as the answer's head announced."""
    data = memoryview(await result.bytes_async())
    _check_length(len(data), result, key)
    return data


def _check_length(length: int, result: GetResult, key: str) -> None:
    start, end = result.range
    if length != end - start:
        sentence = f"Reading {key} was cut after {length} of {end - start} bytes"
        raise StorageAwayError(sentence, operation="get", key=key)
