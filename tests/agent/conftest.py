"""What agents do to their process, undone after each test that does it to the test's own."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import pytest

from agent.orphans import become_subreaper

if TYPE_CHECKING:
    from collections.abc import Iterator

_PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture
def subreaper() -> Iterator[None]:
    """Orphans below the test become its children, as in the agent."""
    become_subreaper()
    yield
    assert ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0
