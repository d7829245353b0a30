"""`studios checkpoints repair`: the way out of damage."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from checkpoints.format import names
from checkpoints.storage.opening import REPOSITORY_FOLDER
from tests.support.checkpoint_commands import open_repository, read
from tests.support.damaged_store import damage
from tests.support.folder_facts import look
from tests.support.full_disk import small_disk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.studios.conftest import Studios


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    for number in range(3):
        (folder / f"file{number}").write_bytes(os.urandom(3000))
    return folder


@pytest.mark.parametrize("kind", ["packs/", "meta/"])
async def test_a_flipped_bit_costs_one_repair_and_one_write(
    studios: Studios, mine: Path, tmp_path: Path, kind: str
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    await read(studios, "write", mine, "-w", work, "--final")
    repository = await open_repository(work)
    (pack,) = [listed.key async for listed in repository.storage.list(kind)]
    await damage(repository.storage, pack, 10)
    done = await studios("checkpoints", "verify", "-w", str(work))
    assert done.exit_code == 1
    assert f"studios checkpoints repair -w {work}` says what can be mended" in done.stderr
    done = await studios("checkpoints", "repair", "-w", str(work))
    assert done.exit_code == 1
    assert "Would mark 1 pack as damaged" in done.stderr
    assert "say --yes" in done.stderr
    assert not [each async for each in repository.storage.list(names.MARKS)]
    done = await studios("checkpoints", "repair", "-w", str(work), "--yes")
    assert done.exit_code == 0, done.output
    assert "Marked 1 pack as damaged" in done.stderr
    written = await read(studios, "write", mine, "-w", work, "--final")
    await read(studios, "restore", written["checkpointId"], tmp_path / "back", "-w", work)
    assert look(tmp_path / "back") == look(mine)
    again = await read(studios, "repair", "--yes", "-w", work)
    assert again["foundChunks"] == 1
    assert again["marked"] == []
    done = await studios("checkpoints", "repair", "-w", str(work))
    assert (done.exit_code, "nothing to mend" in done.stderr) == (0, True)


async def test_a_lost_index_is_made_anew(studios: Studios, mine: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    written = await read(studios, "write", mine, "-w", work, "--final")
    repository = await open_repository(work)
    (index,) = [listed.key async for listed in repository.storage.list(names.INDEXES)]
    await repository.storage.delete(index)
    done = await read(studios, "repair", "-w", work, "--yes")
    assert done["rebuilt"] == [{"object": index, "chunks": 4}]
    await read(studios, "restore", written["checkpointId"], tmp_path / "back", "-w", work)
    assert look(tmp_path / "back") == look(mine)


async def test_an_index_of_which_nothing_is_left_says_what_to_do(
    studios: Studios, mine: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    await read(studios, "write", mine, "-w", work, "--final")
    repository = await open_repository(work)
    for prefix in ("index/", "packs/", "meta/"):
        for key in [listed.key async for listed in repository.storage.list(prefix)]:
            await repository.storage.delete(key)
    done = await studios("checkpoints", "repair", "-w", str(work), "--yes")
    assert done.exit_code == 1
    assert "delete its checkpoint" in done.stderr


async def test_an_index_without_a_record_is_said(
    studios: Studios, mine: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    written = await read(studios, "write", mine, "-w", work, "--final")
    repository = await open_repository(work)
    for key in [listed.key async for listed in repository.storage.list(names.RECORDS)]:
        await repository.storage.delete(key)
    done = await studios("checkpoints", "verify", "-w", str(work))
    assert done.exit_code == 0
    assert f"Checkpoint {written['checkpointId']} has an index and no record" in done.stderr


async def test_a_folder_with_the_work_directory_in_it_is_refused(
    studios: Studios, mine: Path, tmp_path: Path
) -> None:
    inside = mine / "work"
    inside.mkdir()
    (tmp_path / "link").symlink_to(mine)
    for folder in (mine, tmp_path / "link"):
        done = await studios("checkpoints", "write", str(folder), "-w", str(inside))
        assert done.exit_code == 1
        assert "would be stored into itself: take a work directory elsewhere" in done.stderr
    assert not list(inside.iterdir())


async def test_nothing_is_restored_among_the_checkpoints(studios: Studios, work: Path) -> None:
    where = work / REPOSITORY_FOLDER / "back"
    done = await studios("checkpoints", "restore", "aaa", str(where), "-w", str(work))
    assert done.exit_code == 1
    assert "give another folder" in done.stderr
    assert not where.exists()


async def test_a_restore_to_a_full_disk_names_the_next_step(
    studios: Studios, work: Path, tmp_path: Path
) -> None:
    (tmp_path / "small").mkdir()
    with small_disk(tmp_path / "small", size_bytes=1 << 20):
        folder = tmp_path / "small/back"
        done = await studios("checkpoints", "restore", "bbb", str(folder), "-w", str(work))
    assert done.exit_code == 1
    assert "No space left on device (make room there" in done.stderr


@pytest.mark.parametrize("module", ["surroundings", "commands.checkpoints.group"])
async def test_an_interrupted_start_ends_with_130_and_says_nothing(module: str) -> None:
    """Modules take a second to load on a busy machine."""
    interrupts = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    program = (
        "import sys, importlib.abc\n"
        "class Interrupts(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == 'studios.{module}': {interrupts}\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "from studios.__main__ import main\n"
        "main()\n"
    )
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, "checkpoints",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert await done.communicate() == (b"", b"")
    assert done.returncode == 128 + signal.SIGINT
