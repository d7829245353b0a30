"""Studios whose sessions are real, and nothing of them left behind, whatever a test does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.session_agent import MB, Studio

if TYPE_CHECKING:
    from collections.abc import Iterator


ROOMY_BYTES = 3 * 1024 * MB
"""Enough for a volume of the documented first size, which is asked for before one is made."""


@pytest.fixture
def studio() -> Iterator[Studio]:
    """One on a disk in memory: how long a machine's own takes to write is not our matter."""
    with Studio() as studio:
        studio.put_on_disk(ROOMY_BYTES)
        yield studio
