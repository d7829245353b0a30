"""Blocking calls in threads, and what a cancellation makes of them."""

from __future__ import annotations

import asyncio
import threading

import pytest

from common.clock import settle
from common.threads import Threads


async def test_a_cancelled_call_ends_only_when_the_kernel_is_done() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(10)

    threads = Threads(4, "test")
    call = asyncio.get_running_loop().create_task(threads.run(work))
    await asyncio.to_thread(begun.wait, 10)
    for _ in range(2):
        call.cancel()
        await settle()
        assert not call.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_what_fails_after_a_cancellation_is_not_reported_as_forgotten() -> None:
    go_on = threading.Event()

    def work() -> None:
        go_on.wait(10)
        raise OSError

    call = asyncio.get_running_loop().create_task(Threads(4, "test").run(work))
    await settle()
    call.cancel()
    await settle()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_failure_is_the_callers() -> None:
    with pytest.raises(ZeroDivisionError):
        await Threads(4, "test").run(lambda: 1 // 0)
