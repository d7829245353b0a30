"""`studios checkpoints collect` and `delete`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from checkpoints.format import names
from checkpoints.format.ids import CheckpointId
from checkpoints.storage.folder import FolderStorage
from checkpoints.storage.opening import REPOSITORY_FOLDER
from checkpoints.writing.sealing import seal
from checkpoints.writing.writer import Writer
from tests.support.checkpoint_rig import CHECKPOINT, OTHER, fill, repository

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from checkpoints.repository import Repository
    from tests.studios.conftest import Studios


@pytest.fixture
async def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
async def found(work: Path) -> AsyncIterator[Repository]:
    """Two checkpoints: one ended, with all it ever had; one that may still be written."""
    storage = FolderStorage(work, REPOSITORY_FOLDER)
    repo = await repository(storage)
    volume = work.parent / "volume"
    volume.mkdir()
    for checkpoint, count in ((CHECKPOINT, 3), (OTHER, 4)):
        writer = await Writer.open(repo, checkpoint, run_number=1)
        for seed in range(count):
            fill(volume, hash(checkpoint) + seed)
            await writer.write(volume, final=checkpoint == CHECKPOINT and seed == count - 1)
    yield repo
    storage.close()


async def read(studios: Studios, *arguments: str | Path, code: int = 0) -> Any:
    done = await studios("checkpoints", *map(str, arguments), "-o", "json")
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


async def test_collect_says_what_it_found_and_did(
    studios: Studios, work: Path, found: Repository
) -> None:
    dry = await read(studios, "collect", "-w", work, "--dry-run")
    assert dry["deletedRecords"] == 3
    assert len(await found.places(OTHER)) == 4
    done = await studios("checkpoints", "collect", "-w", str(work))
    assert done.exit_code == 0
    assert "2 checkpoints with 7 generations: " in done.stderr
    assert "Dropped 3 superseded generations;" in done.stderr
    assert "More can be freed from" not in done.stderr
    assert len(await found.places(OTHER)) == 3
    again = await studios("checkpoints", "collect", "-w", str(work))
    assert "More can be freed from" in again.stderr


async def test_without_waits_only_while_nobody_writes(
    studios: Studios, work: Path, found: Repository
) -> None:
    arguments = ("collect", "-w", str(work), "--while-nobody-writes")
    refused = await studios("checkpoints", *arguments)
    assert refused.exit_code == 4
    assert OTHER in refused.stderr
    assert CHECKPOINT not in refused.stderr
    await seal(found, OTHER, run_number=2)
    outcome = await read(studios, *arguments)
    assert outcome["deletedPacks"] > 0
    assert outcome["packs"] == 2
    assert await read(studios, "verify", "-w", work)


async def test_delete_deletes_a_checkpoint_that_ended(
    studios: Studios, work: Path, found: Repository
) -> None:
    done = await studios("checkpoints", "delete", CHECKPOINT, "-w", str(work))
    assert done.exit_code == 0, done.output
    records = await found.records(CHECKPOINT)
    assert [record.kind for record in records.found] == ["seal"]
    refused = await studios("checkpoints", "delete", OTHER, "-w", str(work))
    assert refused.exit_code == 4
    assert "--even-if-written" in refused.stderr
    deleted = await read(studios, "delete", OTHER, "-w", work, "--even-if-written")
    assert deleted == {"checkpointId": OTHER, "deletedRecords": 4, "refused": 0}
    unknown = await studios("checkpoints", "delete", "ff", "-w", str(work))
    assert unknown.exit_code == 3


async def test_collect_ends_with_an_error_if_something_cannot_be_read(
    studios: Studios, work: Path, found: Repository
) -> None:
    (place, *_) = await found.places(CHECKPOINT)
    record = work / REPOSITORY_FOLDER / names.record(place)
    record.chmod(0o600)
    record.write_bytes(b"{}")
    done = await studios("checkpoints", "collect", "-w", str(work))
    assert done.exit_code == 1
    assert str(place) in done.stderr
    assert "Nothing is freed" in done.stderr
    assert CheckpointId(place.checkpoint_id) == CHECKPOINT
