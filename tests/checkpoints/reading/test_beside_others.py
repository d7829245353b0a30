"""A verification finds nothing wrong with what others do meanwhile, whenever they do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from checkpoints.format import names
from checkpoints.format.ids import CheckpointId, Generation
from checkpoints.format.names import Place
from checkpoints.reading.stats import measure
from checkpoints.reading.verify import verify
from checkpoints.repository import Repository
from tests.support.damaged_store import OTHER, everything, move
from tests.support.every_kind import file
from tests.support.faulty_store import FaultyStore
from tests.support.packed import Packing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from checkpoints.storage.storage import Part, Storage

    Act = Callable[[Repository], Awaitable[None]]

GOING = Place(CheckpointId(f"{4:016x}"), Generation(1))


class Interrupted(FaultyStore):
    """Lets somebody act before one of its operations."""

    def __init__(self, inner: Storage, number: int, act: Callable[[], Awaitable[None]]) -> None:
        super().__init__(inner)
        self.number = number
        self.act = act

    async def get(self, key: str) -> bytes:
        await self._maybe()
        return await super().get(key)

    async def size(self, key: str) -> int:
        await self._maybe()
        return await super().size(key)

    async def get_range(self, key: str, start: int, length: int) -> Part:
        await self._maybe()
        return await super().get_range(key, start, length)

    async def _maybe(self) -> None:
        if self.operations >= self.number >= 0:
            self.number = -1
            await self.act()


async def expire(repository: Repository) -> None:
    """Delete a generation, and all that only it needed, as a collection does in the end."""
    objects = await everything(repository)
    index = await repository.index(GOING)
    packs = {names.pack(pack.kind, pack.pack_id) for pack in index.packs}
    for key in (names.record(GOING), names.index(GOING), *sorted(packs & objects.keys())):
        await repository.storage.delete(key)


async def commit(repository: Repository) -> None:
    packing = Packing()
    await packing.commit(repository, {b"late": file(packing.file(b"late" * 100))}, checkpoint=5)


async def rewrite(repository: Repository) -> None:
    await move(repository, OTHER)


@pytest.mark.parametrize("act", [expire, commit, rewrite])
async def test_what_others_do_meanwhile_is_no_damage(repository: Repository, act: Act) -> None:
    staying, going = Packing(), Packing()
    await staying.commit(repository, {b"other": file(staying.file(OTHER))}, checkpoint=3)
    await going.commit(repository, {b"going": file(going.file(b"going" * 100))}, checkpoint=4)
    objects = await everything(repository)
    number, was_early = 0, True
    while was_early:
        await lay_down(repository.storage, objects)

        async def interfere() -> None:
            await act(repository)

        store = Interrupted(repository.storage, number, interfere)
        beside = Repository(
            store, repository.parameters, clock=repository.clock, rng=repository.rng
        )
        found = await verify(beside)
        assert found.is_sound, (number, found.damages, found.losses)
        assert not any(each.problem for each in (await measure(beside)).checkpoints)
        was_early = store.number < 0
        number += 1
    assert number > 10


async def lay_down(storage: Storage, objects: dict[str, bytes]) -> None:
    """Make the store what it was."""
    for key in [listed.key async for listed in storage.list("")]:
        if key not in objects:
            await storage.delete(key)
    there = {listed.key async for listed in storage.list("")}
    for key in objects.keys() - there:
        await storage.put_new(key, objects[key])
