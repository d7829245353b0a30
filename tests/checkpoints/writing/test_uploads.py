"""As many packs are under way as were said, and no more; when all is given up, none is."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import TYPE_CHECKING, cast

import pytest

from checkpoints.format.codec import Codec
from checkpoints.format.ids import chunk_id
from checkpoints.format.pack import PACK_BYTES_FULL, PackKind
from checkpoints.writing.pack_writer import UPLOADS_MAX, PackWriter, StoppedError, Uploads

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from checkpoints.storage.storage import Storage


class HeldUp:
    """A store that takes nothing until it is told to."""

    def __init__(self) -> None:
        self.under_way = 0
        self.stored = 0
        self.is_full = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def put_new(self, _key: str, _data: bytes) -> None:
        self.under_way += 1
        assert self.under_way <= UPLOADS_MAX
        if self.under_way == UPLOADS_MAX:
            self.is_full.set()
        await self.goes_on.wait()
        self.under_way -= 1
        self.stored += 1


async def test_packs_are_sent_beside_each_other_and_a_few_at_a_time() -> None:
    store, count = HeldUp(), 2 * UPLOADS_MAX
    uploads = Uploads(cast("Storage", store))
    packs = PackWriter(PackKind.DATA, uploads.send, random.Random(1))

    def write() -> None:
        for number in range(count):
            raw = number.to_bytes(1, "big") * PACK_BYTES_FULL
            packs.add(chunk_id(raw), Codec.RAW, raw, len(raw))
        uploads.drain()

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        writing = group.create_task(asyncio.to_thread(write))
        await store.is_full.wait()
        for _ in range(500):
            await asyncio.to_thread(int)  # the writer has its turns, and could hand in more
        assert not writing.done()
        assert len(packs.closed) <= UPLOADS_MAX + 1  # the last one waits
        store.goes_on.set()
    assert store.stored == count


async def test_what_is_handed_in_at_the_instant_of_a_stop_is_stopped_too() -> None:
    """Or the writer would wait for a store that never answers, and whoever gave up for both."""

    class Stopping(HeldUp):
        """Is stopped while it is handed something."""

        def put_new(self, key: str, data: bytes) -> Coroutine[None, None, None]:
            stopping.start()
            stopping.join(0.2)  # either it has happened by then, or it waits
            return super().put_new(key, data)

    uploads = Uploads(cast("Storage", Stopping()))
    stopping = threading.Thread(target=uploads.stop)

    def write() -> None:
        uploads.send("key", b"data")
        uploads.drain()

    async with asyncio.timeout(60):
        with pytest.raises(StoppedError):
            await asyncio.to_thread(write)
    await asyncio.to_thread(stopping.join)
