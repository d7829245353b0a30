"""What holds for all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings

from tests.support.watched_loop import WatchedLoop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

# No example fails for taking long: the machine may have other things to do.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"watched": WatchedLoop}
