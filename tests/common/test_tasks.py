"""A task has an owner: it is kept, it is ended, and its death is noticed."""

from __future__ import annotations

import asyncio

import pytest

from common.tasks import TaskBag


async def test_closing_a_bag_ends_its_tasks_and_those_they_start_meanwhile() -> None:
    bag = TaskBag("owner")
    ended: list[str] = []

    async def child() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("child")

    async def parent() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("parent")
            bag.spawn(child(), name="child")
            await asyncio.sleep(0)

    bag.spawn(parent(), name="parent")
    await asyncio.sleep(0)
    await bag.close()
    assert ended[0] == "parent"
    await bag.close()


async def test_an_unexpected_death_reaches_the_owner() -> None:
    bag = TaskBag("owner")

    async def dies() -> None:
        raise RuntimeError("a bug")

    bag.spawn(dies(), name="dies")
    with pytest.raises(RuntimeError, match="a bug"):
        await bag.failed()


async def test_a_cancelled_task_is_no_failure() -> None:
    bag = TaskBag("owner")
    task = bag.spawn(asyncio.Event().wait(), name="waits")
    await asyncio.sleep(0)
    assert task.get_name() == "owner/waits"
    task.cancel()
    await asyncio.wait([task])
    watcher = asyncio.get_running_loop().create_task(bag.failed())
    await asyncio.sleep(0)
    assert not watcher.done()
    watcher.cancel()
