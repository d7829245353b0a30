"""The work directory is a bucket: this program's own processes reach it with what it was given."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from checkpoints.repository import Repository
from checkpoints.storage.opening import open_storage
from checkpoints.storage.urls import Access, parse_location
from checkpoints.tree.entry import Entry, Inline, Kind
from common.clock import SteppingClock
from control_plane.config import bucket_access
from tests.control_plane.http.test_checkpoints import ended, running, say, shown
from tests.support.packed import Packing
from tests.support.plane import open_test_plane
from tests.support.s3_servers import BUCKET, CREDENTIALS, KEY_ID, SECRET_KEY, moto_server

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from control_plane.config import ControlPlaneConfig

WORK_DIR = f"s3://{BUCKET}/labs/genome"


async def test_files_are_listed_with_the_keys_of_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)  # what is found there would do as well
    with moto_server() as endpoint:
        environ = {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL": endpoint,
        }

        def on_bucket(config: ControlPlaneConfig) -> ControlPlaneConfig:
            return replace(config, work_dir=WORK_DIR, access=bucket_access(WORK_DIR, environ))

        async with open_test_plane(folder, on_bucket) as plane:
            session_id = await running(plane)
            checkpoint = await shown(plane, session_id)
            number = int(checkpoint["path"].rpartition("/")[2], 16)
            storage = await open_storage(parse_location(WORK_DIR), Access(CREDENTIALS, endpoint))
            repository = await Repository.open(
                storage, create=True, clock=SteppingClock(), rng=random.Random(1)
            )
            entries = {b"a.csv": Entry(kind=Kind.FILE, content=Inline(data=b"1,2\n"))}
            await Packing().commit(repository, entries, checkpoint=number)
            await say(plane, session_id, 1)
            await ended(plane, session_id)
            path = f"/api/studios/{session_id}/checkpoints/{checkpoint['id']}/files"
            found = await plane.admin.get(path)
            assert [one["name"] for one in found.body["files"]] == ["a.csv"], found.text
