"""A collection asks the store for the time."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from checkpoints.collecting.listing import store_time
from checkpoints.storage.failures import AlreadyThereError, StorageUnfitError
from tests.support.checkpoint_rig import memory
from tests.support.faulty_store import FaultyStore


class _Late(FaultyStore):
    """Says of the first creations that they have happened already: their answers were lost."""

    late = 1

    async def put_new(self, key: str, data: bytes) -> None:
        if self.late:
            self.late -= 1
            raise AlreadyThereError(f"{key} is there already", operation="put_new", key=key)
        await super().put_new(key, data)


async def test_an_own_object_that_came_late_and_went_is_made_again() -> None:
    """Another collection has seen it as an old one, and removed it before it was read back."""
    store = _Late(memory())
    assert abs(await store_time(store, random.Random(1)) - datetime.now(UTC)) < timedelta(minutes=5)
    assert [listed async for listed in store.list("probes/")] == []


async def test_a_store_that_has_everything_already_is_unfit() -> None:
    store = _Late(memory())
    store.late = 100
    with pytest.raises(StorageUnfitError, match="doesn't list"):
        await store_time(store, random.Random(1))
