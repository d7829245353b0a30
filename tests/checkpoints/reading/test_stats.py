"""What deleting a checkpoint would free is what only it has."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from checkpoints.reading.stats import measure
from tests.support.every_kind import file
from tests.support.packed import Packing

if TYPE_CHECKING:
    from checkpoints.repository import Repository

_RNG = random.Random(2)
BOTH, FIRST, OLD, SECOND = (_RNG.randbytes(size) for size in (10_000, 3_000, 500, 7_000))


async def commit(
    repository: Repository, checkpoint: int, generation: int, *contents: bytes
) -> None:
    packing = Packing()
    entries = {b"%d" % n: file(packing.file(raw)) for n, raw in enumerate(contents)}
    await packing.commit(repository, entries, checkpoint=checkpoint, generation=generation)


async def test_shared_content_is_nobodys_own(repository: Repository) -> None:
    await commit(repository, 1, 1, BOTH, OLD)
    await commit(repository, 1, 2, BOTH, FIRST)
    await commit(repository, 2, 1, BOTH, SECOND, SECOND)
    found = await measure(repository)
    one, two = found.checkpoints
    assert (one.generations, two.generations) == (2, 1)
    assert (one.shared_bytes, two.shared_bytes) == (len(BOTH), len(BOTH))
    nodes = one.own_bytes - len(FIRST) - len(OLD), two.own_bytes - len(SECOND)
    assert all(0 < each < 1000 for each in nodes)
    assert found.needed_bytes == one.own_bytes + two.own_bytes + len(BOTH)
    assert found.stored_bytes > found.needed_bytes
    assert two.file_bytes == len(BOTH) + 2 * len(SECOND)


async def test_a_third_sharer_is_counted_once(repository: Repository) -> None:
    for checkpoint in (1, 2, 3):
        await commit(repository, checkpoint, 1, BOTH)
        await commit(repository, checkpoint, 2, BOTH, BOTH)
    found = await measure(repository)
    # Trees are alike too, so nothing is anybody's own.
    assert [each.own_bytes for each in found.checkpoints] == [0, 0, 0]
    assert {each.shared_bytes for each in found.checkpoints} == {found.needed_bytes}
