"""Blocking calls in threads, and what a cancellation makes of them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from common.clock import settle
from common.threads import Threads, begin
from tests.support.tree import ROOT

HELD_UP = """
import asyncio, threading
from common.threads import begin

async def use():
    begin(threading.Event().wait, name="held up")

asyncio.run(use())
print("ended")
"""
PROGRAM_SECONDS_MAX = 30.0


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


async def test_what_is_begun_tells_its_result_or_failure() -> None:
    assert await begin(lambda: 7, name="test") == 7
    with pytest.raises(ZeroDivisionError):
        await begin(lambda: 1 // 0, name="test")


@pytest.mark.parametrize("fails", [False, True])
async def test_what_is_begun_and_forgotten_goes_on_and_nobody_hears_of_it(*, fails: bool) -> None:
    reports: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: reports.append(f"{context}")
    )
    begun, go_on = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def work() -> None:
        threads.append(threading.current_thread())
        begun.set()
        go_on.wait(10)
        if fails:
            raise OSError

    forgotten = begin(work, name="test")
    await asyncio.to_thread(begun.wait, 10)
    forgotten.cancel()
    await settle()
    go_on.set()
    await asyncio.to_thread(threads[0].join, 10)
    await settle()
    assert forgotten.cancelled()
    assert reports == []


def test_a_program_ends_while_something_that_was_begun_is_held_up() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELD_UP],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS_MAX,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("ended\n", "")
