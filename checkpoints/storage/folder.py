"""A folder as a store: the files of `files`, touched in threads only."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from checkpoints.storage.files import Files
from checkpoints.storage.storage import check_key, check_prefix
from checkpoints.storage.translation import from_os_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

    from checkpoints.storage.storage import Listed, Range

THREADS_MAX = 8
"""Of one store. They wait for the disk, and eight waiting keep a disk or file server busy; when
a file server hangs, so do these, and nobody else's."""

LISTED_AT_ONCE = 1000
"""What a thread brings to the event loop in one go: about 2 ms of work there."""

P = ParamSpec("P")
T = TypeVar("T")


class FolderStorage:
    """A `Storage` in `folder` (made when needed) of an existing work directory."""

    def __init__(self, work_directory: Path, folder: str = "") -> None:
        """Open it. May block, and raises OSError."""
        self._files = Files(work_directory, folder)
        self._threads = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="folder-storage")

    async def get(self, key: str) -> bytes:
        check_key(key)
        return await self._run("get", key, self._files.read_all, key)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        check_key(key)
        return await self._run("get_range", key, self._files.read, key, start, length)

    async def get_suffix(self, key: str, length: int) -> bytes:
        check_key(key)
        return await self._run("get_suffix", key, self._files.read_suffix, key, length)

    async def get_ranges(self, key: str, ranges: Sequence[Range]) -> Sequence[bytes]:
        check_key(key)
        return await self._run("get_ranges", key, self._files.read_ranges, key, ranges)

    async def put_new(self, key: str, data: bytes) -> None:
        check_key(key)
        await self._run("put_new", key, self._files.create, key, data)

    async def delete(self, key: str) -> None:
        check_key(key)
        await self._run("delete", key, self._files.remove, key)

    async def size(self, key: str) -> int:
        check_key(key)
        return await self._run("size", key, self._files.measure, key)

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        check_prefix(prefix)
        walk = self._files.walk(prefix, after)
        while page := await self._run("list", prefix, _page, walk):
            for listed in page:
                yield listed

    def close(self) -> None:
        """Let go of the work directory; nothing may be under way, nor asked for afterwards."""
        self._threads.shutdown(wait=False)
        self._files.close()

    async def _run(
        self, operation: str, key: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run it in a thread. Cancelled, it may still happen: as with a bucket."""
        try:
            return await asyncio.wrap_future(self._threads.submit(function, *args, **kwargs))
        except OSError as error:
            raise from_os_error(error, operation, key) from error


def _page(walk: Iterator[Listed]) -> list[Listed]:
    return list(islice(walk, LISTED_AT_ONCE))
