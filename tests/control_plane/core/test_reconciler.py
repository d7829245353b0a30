"""The reconciler's loop: woken by changes, unharmed by a database that is away, ended by bugs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from control_plane.reconciler import Reconciler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.session_spec import SessionSpec
    from control_plane.engines.engine import Engine, Job
    from control_plane.store import Transaction
    from tests.support.core_plane import Plane

LIMIT_SECONDS = 10


async def _until_submitted(plane: Plane) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while not plane.host.agents:
            await asyncio.sleep(0)


async def test_change_is_acted_upon_while_time_stands_still(plane: Plane) -> None:
    loop = asyncio.create_task(Reconciler(plane.service, plane.probe).run())
    while plane.clock.sleeping == 0:  # it has made its first pass, and waits
        await asyncio.sleep(0)
    await plane.create(auto_start=True)
    await _until_submitted(plane)
    loop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loop


async def test_slow_engine_holds_up_only_its_own_session(plane: Plane) -> None:
    answer = asyncio.Event()
    usual = plane.engine.submit
    slow = await plane.create("slow")

    async def submit(spec: SessionSpec) -> Job:
        if spec.session_id == slow.session_id:
            await answer.wait()
        return await usual(spec)

    plane.engine.submit = submit  # type: ignore[method-assign]
    loop = asyncio.create_task(Reconciler(plane.service, plane.probe).run())
    await plane.service.start(plane.admin, slow.session_id)
    other = await plane.create("other", auto_start=True)
    async with asyncio.timeout(LIMIT_SECONDS):
        while not plane.host.living(other.session_id):
            await plane.clock.advance(1)
    assert not plane.host.living(slow.session_id)
    answer.set()
    async with asyncio.timeout(LIMIT_SECONDS):
        while not plane.host.living(slow.session_id):
            await plane.clock.advance(1)
    loop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loop


async def test_database_that_is_away_is_waited_for(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = plane.service.core.store
    usual, failures = store.read, iter(range(3))

    def read() -> AsyncIterator[Transaction]:
        if next(failures, None) is not None:
            raise sa.exc.OperationalError("SELECT", {}, Exception("away"))
        return usual()  # type: ignore[return-value]

    await plane.create(auto_start=True)
    monkeypatch.setattr(store, "read", read)
    loop = asyncio.create_task(Reconciler(plane.service, plane.probe).run())
    async with asyncio.timeout(LIMIT_SECONDS):
        while not plane.host.agents:
            await plane.clock.advance(1)
    loop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loop


async def test_bug_ends_the_loop(plane: Plane) -> None:
    async def submit(spec: SessionSpec) -> Job:
        raise ZeroDivisionError

    engine: Engine = plane.engine
    engine.submit = submit  # type: ignore[method-assign]
    await plane.create(auto_start=True)
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(LIMIT_SECONDS):
            await Reconciler(plane.service, plane.probe).run()
    assert caught.group_contains(ZeroDivisionError)
