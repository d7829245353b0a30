"""Studios whose sessions are real, and nothing of them left behind, whatever a test does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.session_agent import Studio

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def studio() -> Iterator[Studio]:
    with Studio() as studio:
        yield studio
