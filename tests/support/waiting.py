"""Waiting for a named condition in tests without an event loop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PAUSE_SECONDS = 0.01


def until(condition: Callable[[], object], *, seconds: float = 10.0, what: str = "") -> None:
    """Wait for it; the limit only bounds a failing test."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"never came true: {what or condition}"
        time.sleep(PAUSE_SECONDS)
