"""Runs each test that needs a loop on both: programs run on uvloop, much else on asyncio's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.watched_loop import WatchedLoop, WatchedUvloop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    import pytest


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    del config, item
    return {"asyncio": WatchedLoop, "uvloop": WatchedUvloop}
