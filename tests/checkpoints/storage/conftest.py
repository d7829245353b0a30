"""Stores to try: every implementation, each empty."""

from __future__ import annotations

import errno
import itertools
import os
import random
from typing import TYPE_CHECKING, Any

import pytest
from obstore.store import MemoryStore

from checkpoints.storage.folder import FolderStorage
from checkpoints.storage.obstore_storage import ObstoreStorage
from checkpoints.storage.opening import open_storage, reliable
from checkpoints.storage.urls import Memory
from common.clock import SteppingClock
from tests.support.faulty_store import FaultyStore
from tests.support.s3_servers import moto_server, open_bucket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from checkpoints.storage.storage import Storage

_paths = itertools.count()


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
async def bucket(moto: str) -> Storage:
    """An empty path of a bucket on a server that speaks S3."""
    return await open_bucket(moto, path=f"path-{next(_paths)}")


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[FolderStorage]:
    storage = FolderStorage(tmp_path, "below/here")
    yield storage
    storage.close()


@pytest.fixture
async def memory() -> Storage:
    return await open_storage(Memory())


@pytest.fixture
def without_ranges() -> Storage:
    return ObstoreStorage(MemoryStore(), has_ranges=False)


@pytest.fixture
def no_nameless_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without O_TMPFILE, as NFS is."""
    real = os.open

    def refuse(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)


@pytest.fixture(
    params=[
        "memory",
        "folder",
        "folder without nameless files",
        "bucket",
        "reliable",
        "without_ranges",
    ]
)
def storage(request: pytest.FixtureRequest) -> Storage:
    match request.param:
        case "folder without nameless files":
            request.getfixturevalue("no_nameless_files")
            found = request.getfixturevalue("folder")
        case "reliable":
            faulty = FaultyStore(request.getfixturevalue("memory"))
            found = reliable(faulty, clock=SteppingClock(), rng=random.Random(1))
        case name:
            found = request.getfixturevalue(name)
    result: Storage = found
    return result
