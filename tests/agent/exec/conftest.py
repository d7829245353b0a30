"""The whole path of a command, in one loop: client, edge, tunnel, gateway, plain processes.

Each test runs on both kinds of loop: programs run on uvloop, tests and tools on asyncio's own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.rig import Rig, running_rig
from tests.support.watched_loop import WatchedLoop, WatchedUvloop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    del config
    if item.path.name == "test_in_a_session.py":  # the loop that matters there is the agent's
        return {"uvloop": WatchedUvloop}
    return {"asyncio": WatchedLoop, "uvloop": WatchedUvloop}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        async with running_rig(tmp_path) as running:
            await running.ground.make(output_fd=null)
            try:
                yield running
            finally:
                await running.ground.clean_up()
    finally:
        os.close(null)
