"""Chunks are read together as packs have them: each once, some megabytes at a time."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from checkpoints import chunk_source
from checkpoints.chunk_source import ChunkSource, Group
from checkpoints.format.ids import ChunkId, PackId
from checkpoints.format.index import ChunkPlace, Index, PackFacts, build
from checkpoints.format.pack import PackKind
from checkpoints.storage.opening import open_storage
from checkpoints.storage.urls import Memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FULL, SPREAD, LARGEST = 8_000, 40_000, 4_000


def places(rng: random.Random, packs: int) -> dict[ChunkId, ChunkPlace]:
    """Return chunks of all lengths, back to back in packs."""
    found = {}
    for number in range(packs):
        facts = PackFacts(PackId(number.to_bytes(16, "big")), PackKind.DATA, 1 << 20)
        at = 0
        for _ in range(rng.randrange(1, 60)):
            size = rng.choice((1, 50, 900, LARGEST))
            found[ChunkId(rng.randbytes(32))] = ChunkPlace(facts, at, size, size, 0)
            at += size
    return found


@pytest.mark.parametrize("seed", range(20))
async def test_every_chunk_comes_once_in_groups_of_a_fair_size(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_source, "GROUP_BYTES_MAX", FULL)
    monkeypatch.setattr(chunk_source, "SPREAD_BYTES_MAX", SPREAD)
    rng = random.Random(seed)
    known = places(rng, packs=12)
    wanted = [*known, *rng.sample(sorted(known), 5)]
    if seed % 2:
        rng.shuffle(wanted)
    storage = await open_storage(Memory())

    async def nothing_moved() -> Sequence[Index]:
        return ()

    source = ChunkSource(storage, [Index(build(known))], nothing_moved)
    groups: list[Group] = []
    waiting = taken = 0

    def counted() -> Iterator[ChunkId]:
        nonlocal taken
        for chunk in wanted:
            taken += known[chunk].stored_bytes
            yield chunk

    for group in source.groups(counted()):
        groups.append(group)
        given = sum(place.stored_bytes for each in groups for _, place in each.chunks)
        waiting = max(waiting, taken - given)
    chunks = [chunk for group in groups for chunk, _ in group.chunks]
    assert sorted(chunks) == sorted(known)
    for group in groups:
        offsets = [place.offset for _, place in group.chunks]
        assert offsets == sorted(offsets)
        assert len({place.pack for _, place in group.chunks}) == 1
        assert sum(place.stored_bytes for _, place in group.chunks) < FULL + LARGEST
    assert waiting <= SPREAD + 5 * LARGEST  # those asked for twice are counted twice
    total = sum(place.stored_bytes for place in known.values())
    if not seed % 2:  # in the order of packs, only the last group of each isn't full
        assert len(groups) <= total / FULL + 12
