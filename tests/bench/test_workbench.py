"""The works of the `files` benchmark see when a file system gives something else than was stored.

Done with small sizes; the file systems of `places` on the real kernel.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.volume.loopdev import LoopDevices
from bench import disk, materials, place, workbench
from bench.processes import BenchError, child
from tests.support.agent_rig import until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbench, "LARGE_BYTES", 3_000_000)
    monkeypatch.setattr(workbench, "SMALL_FILES", 200)
    monkeypatch.setattr(materials, "FILES", 50)
    monkeypatch.setattr(materials, "MODULES", 3)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "tree.tar"
    materials.write_archive(path)
    return path


def test_every_work_leaves_the_folder_as_it_was(tmp_path: Path, archive: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    wheel = materials.write_wheel(tmp_path)
    rates = {
        **workbench.write(folder),
        **workbench.read(folder),
        **workbench.read_randomly(folder, "0.1"),
        **workbench.remove_large(folder),
        **workbench.small_files(folder),
        **workbench.unpack(folder, str(archive)),
        **workbench.commit(folder),
        **workbench.status(folder),
        **workbench.remove(folder),
        **workbench.install(folder, str(wheel)),
        **workbench.walk(tmp_path),
    }
    assert min(rates.values()) > 0
    assert list(folder.iterdir()) == []


def test_a_large_file_that_lost_its_end_is_no_result(tmp_path: Path) -> None:
    workbench.write(tmp_path)
    with (tmp_path / "large").open("rb+") as file:
        file.truncate(2_999_999)
    with pytest.raises(AssertionError, match="2999999"):
        workbench.read(tmp_path)


def test_a_tree_that_changed_is_no_result(tmp_path: Path, archive: Path) -> None:
    workbench.unpack(tmp_path, str(archive))
    workbench.commit(tmp_path)
    next((tmp_path / "tree").rglob("*.py")).write_text("changed")
    with pytest.raises(AssertionError, match="clean"):
        workbench.status(tmp_path)


def test_a_program_that_fails_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="tar"):
        workbench.unpack(tmp_path, "/nothing.tar")


def test_the_same_trees_are_made_each_time(tmp_path: Path, archive: Path) -> None:
    again = tmp_path / "again.tar"
    materials.write_archive(again)
    assert again.read_bytes() == archive.read_bytes()


async def test_the_scratch_folder_goes_when_the_benchmark_is_interrupted() -> None:
    async def interrupted(folders: list[Path]) -> None:
        async with disk.scratch(1) as folder:
            (folder / "file").touch()
            folders.append(folder)
            await asyncio.get_running_loop().create_future()

    folders: list[Path] = []
    async with asyncio.TaskGroup() as group:
        task = group.create_task(interrupted(folders))
        await until(lambda: folders, what="it is there")
        assert (folders[0] / "file").exists()
        task.cancel()
    assert not folders[0].exists()


async def test_a_disk_without_room_is_said_before_anything_is_written() -> None:
    with pytest.raises(BenchError, match="GB free"):
        async with disk.scratch(10**18):
            pass


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="studios-test-", dir="/var/lib") as name:
        yield Path(name)


@pytest.mark.parametrize(
    ("kind", "written"),
    [(place.OVERLAY, place.MERGED_NAME), (place.VOLUME, "volume/active")],
)
async def test_a_killed_place_leaves_nothing_mounted_or_attached(
    folder: Path, kind: str, written: str
) -> None:
    there = folder / kind
    there.mkdir()
    work = f"echo kept > {there}/{written}/file; touch {folder}/done; exec sleep 1000"
    command = (sys.executable, "-m", "bench.place", kind, str(there), "/bin/sh", "-c", work)
    async with child("place", *command, folder=folder) as process:
        await process.wrote(folder / "done")
        assert not (there / written / "file").exists(), "only the place itself sees it"
        process.send_signal(signal.SIGKILL)
        await process.ended(seconds_max=10)
    if kind == place.VOLUME:
        image = (there / "studios-volume.btrfs").stat()
        await until(lambda: LoopDevices().find(image) is None, what="the device is given back")
    else:
        assert (there / "upper/file").read_text() == "kept\n"
