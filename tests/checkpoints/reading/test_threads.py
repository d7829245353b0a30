"""Threads that use descriptors are waited for, so that nobody closes these meanwhile."""

from __future__ import annotations

import asyncio
import threading

import pytest

from common.threads import Threads


async def test_a_cancelled_wait_lasts_until_the_thread_has_ended() -> None:
    began, go_on, ended = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(began.set)
        go_on.wait()
        ended.set()

    async def use() -> bool:
        with Threads(1, "test") as threads:
            try:
                await threads.run(work)
            finally:
                assert ended.is_set()
        return True

    async with asyncio.TaskGroup() as group:
        task = group.create_task(use())
        try:
            await began.wait()
            for _ in range(2):  # whoever is impatient changes nothing
                task.cancel()
                await asyncio.sleep(0)
            assert not task.done()
        finally:
            go_on.set()
    assert task.cancelled()


async def test_what_is_raised_in_a_thread_comes_out() -> None:
    with Threads(1, "test") as threads:
        with pytest.raises(ZeroDivisionError):
            await threads.run(divmod, 1, 0)
        assert await threads.run(divmod, 7, 2) == (3, 1)
