"""A chunk that is stored twice is read from wherever it is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from checkpoints.chunk_source import ChunkSource
from checkpoints.format import names
from checkpoints.format.codec import encode
from checkpoints.format.damage import DamagedError, DamagedObjectError
from checkpoints.format.ids import PackId, chunk_id
from checkpoints.format.index import ChunkPlace, Index, PackFacts, build
from checkpoints.format.pack import PackKind
from tests.support.checkpoint_rig import memory

if TYPE_CHECKING:
    from checkpoints.storage.storage import Storage

RAW = b"the same bytes " * 100
CHUNK = chunk_id(RAW)


async def _copy(storage: Storage, number: int, state: str) -> Index:
    """Store the chunk as a pack of its own, damaged or not, or not at all."""
    codec, stored = encode(RAW)
    pack = PackFacts(PackId(bytes([number]) * 16), PackKind.DATA, len(stored))
    if state != "missing":
        data = stored if state == "whole" else bytes(len(stored))
        await storage.put_new(names.pack(pack.kind, pack.pack_id), data)
    return Index(build({CHUNK: ChunkPlace(pack, 0, len(stored), len(RAW), codec)}))


@pytest.mark.parametrize("first", ["whole", "damaged", "missing"])
@pytest.mark.parametrize("second", ["whole", "damaged", "missing"])
@pytest.mark.parametrize("moved", ["whole", "damaged", "missing", "nowhere"])
async def test_one_whole_copy_is_enough(first: str, second: str, moved: str) -> None:
    storage = memory()
    indexes = [await _copy(storage, 1, first), await _copy(storage, 2, second)]
    elsewhere = [] if moved == "nowhere" else [await _copy(storage, 3, moved)]

    async def load_moved() -> list[Index]:
        return elsewhere

    source = ChunkSource(storage, indexes, load_moved)
    if "whole" in {first, second, moved}:
        assert await source.read(CHUNK) == RAW
        [group] = source.groups([CHUNK])
        assert await source.read_group(group) == [(CHUNK, RAW)]
    else:
        with pytest.raises(DamagedObjectError) as caught:
            await source.read(CHUNK)
        is_missing = {first, second, moved} <= {"missing", "nowhere"}
        assert ("is missing" in str(caught.value)) == is_missing


@pytest.mark.parametrize("moved", [False, True])
async def test_a_chunk_that_nothing_knows_of_is_damage(*, moved: bool) -> None:
    storage = memory()
    index = await _copy(storage, 1, "whole")

    async def load_moved() -> list[Index]:
        return [index] if moved else []

    source = ChunkSource(storage, [], load_moved)
    if moved:
        assert await source.read(CHUNK) == RAW
    else:
        with pytest.raises(DamagedError, match="no index knows"):
            await source.read(CHUNK)
