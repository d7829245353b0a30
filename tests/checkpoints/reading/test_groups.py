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
from checkpoints.reading import spans as spans_module
from checkpoints.reading.making import File
from checkpoints.reading.spans import Piece, plan
from checkpoints.storage.opening import open_storage
from checkpoints.storage.urls import Memory
from checkpoints.tree.entry import Entry, Kind

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


def test_spans_read_every_chunk_once_and_nothing_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans_module, "SPAN_BYTES_MAX", FULL)
    rng = random.Random(3)
    known = places(rng, packs=6)
    wanted = rng.sample(sorted(known), len(known) * 9 // 10)
    file = File(b"", b"all", Entry(kind=Kind.FILE), is_made=True)
    pieces = [Piece(file, 0, chunk, known[chunk].raw_bytes) for chunk in (*wanted, *wanted[:5])]
    packs = {place.pack: rng.randbytes(1 << 20) for place in known.values()}
    found: dict[ChunkId, int] = {}
    spans = plan(pieces, known.__getitem__, damaged=lambda piece, error: pytest.fail(str(error)))
    for span in spans:
        for run in span.runs:
            whole, asked = packs[span.pack], run.range
            read = whole[asked.start : asked.end]
            assert len(read) == sum(each.place.stored_bytes for each in run.chunks)
            for each, stored in run.cut(read):
                place = known[each.chunk_id]
                assert stored == whole[place.offset : place.offset + place.stored_bytes]
                assert each.chunk_id not in found
                found[each.chunk_id] = len(each.pieces)
        assert sum(run.range.length for run in span.runs) <= FULL
        ends = [run.range.end for run in span.runs[:-1]]
        assert all(end < run.range.start for end, run in zip(ends, span.runs[1:], strict=True))
    assert found == {chunk: 2 if chunk in wanted[:5] else 1 for chunk in wanted}
    assert sum(span.file_bytes for span in spans) == sum(piece.length_bytes for piece in pieces)
