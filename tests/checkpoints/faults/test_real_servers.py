"""Servers of the real protocol that fail at every few requests: all is done in the end."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest

from checkpoints.storage.opening import reliable
from tests.support.checkpoint_model_scene import ACTS, Scene, scene
from tests.support.checkpoint_model_store import SimulatedStore
from tests.support.checkpoint_rig import Clock
from tests.support.faulty_s3 import Answer, FaultyS3, Truncation, faulty_s3
from tests.support.s3_servers import open_bucket

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoints.storage.storage import Storage

ANSWERS = (
    Answer(500, "InternalError"),
    Answer(503, "SlowDown"),
    Answer(500, "InternalError", passes_on=True),
    Truncation(0, passes_on=True),
)
REQUESTS_BETWEEN = 5
"""Every so many requests one fails."""
_paths = itertools.count()


async def put_all(store: SimulatedStore, bucket: Storage) -> None:
    for key, held in store.objects.items():
        await bucket.put_new(key, held.data)


async def got_all(bucket: Storage) -> SimulatedStore:
    store = SimulatedStore()
    for key in [listed.key async for listed in bucket.list("")]:
        store.create(key, await bucket.get(key))
    return store


async def try_act(made: Scene, server: str, act: str, folder: Path) -> None:
    """Perform with a failure at every few requests, beginning with another one each time."""
    answers = itertools.cycle(ANSWERS)
    async with faulty_s3(server) as faulty:
        for first in range(REQUESTS_BETWEEN):
            path = f"path-{next(_paths)}"
            bucket = await open_bucket(server, path=path)
            await put_all(made.store, bucket)
            script(faulty, first, answers)
            between = await open_bucket(faulty.url, path=path)
            store = reliable(between, clock=Clock(), rng=random.Random(1))
            await ACTS[act](store, made, folder / f"empty{first}")
            faulty.answers.clear()
            made.oracle(await got_all(bucket))


def script(faulty: FaultyS3, first: int, answers: itertools.cycle[Answer]) -> None:
    for number in range(300):
        fails = number % REQUESTS_BETWEEN == first
        faulty.answers.append(next(answers) if fails else None)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("act", ["first_write", "continued", "collected", "swept", "restored"])
async def test_a_good_server_that_fails_is_got_over(act: str, moto: str, tmp_path: Path) -> None:
    await try_act(await scene(tmp_path), moto, act, tmp_path)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("act", ["first_write", "restored"])
async def test_so_is_a_poor_one_with_a_single_writer(act: str, rclone: str, tmp_path: Path) -> None:
    await try_act(await scene(tmp_path), rclone, act, tmp_path)
