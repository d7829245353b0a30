"""What holds for all tests."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from hypothesis import settings

from tests.support.watched_loop import WatchedLoop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    import pytest

# A shell has what it starts in the background ignore it, and so would whatever tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup
    signal.signal(signal.SIGHUP, lambda *_: None)  # which nothing that tests start inherits

# No example fails for taking long: the machine may have other things to do.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"watched": WatchedLoop}


LATER = ("soak", "own_kernel")
"""Marks of what waits until it is asked for: `make soak` and `make test-vm` do."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not for every machine or every day, unless `-m` asks for it."""
    marks = [mark for mark in LATER if mark not in config.option.markexpr]
    waiting = [item for item in items if any(map(item.get_closest_marker, marks))]
    config.hook.pytest_deselected(items=waiting)
    left = set(waiting)
    items[:] = [item for item in items if item not in left]
