"""A store that keeps its own time, a repository in it, and a folder to write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.collecting_store import AgingStore, Calendar, repository_in

if TYPE_CHECKING:
    from checkpoints.repository import Repository


@pytest.fixture
def clock() -> Calendar:
    return Calendar()


@pytest.fixture
def store(clock: Calendar) -> AgingStore:
    return AgingStore(clock)


@pytest.fixture
async def found(store: AgingStore, clock: Calendar) -> Repository:
    return await repository_in(store, clock)
