"""What users do in the benchmark of saving, done with small sizes."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from bench import materials, workbench
from bench.saving import deeds
from bench.saving.notes import Window, pause, read_stamps
from bench.saving.packages import PACKAGES, write_packages, write_wheel
from tests.support.agent_rig import until

if TYPE_CHECKING:
    from pathlib import Path

MB = 1_000_000


def blocks(folder: Path) -> int:
    """Return how many a program has written, as long as it didn't begin again."""
    path = folder / "ring"
    return path.stat().st_size // 4096 if path.exists() else 0


def now_ns(folder: Path) -> int:
    """Return the file system's time."""
    (folder / "now").touch()
    return (folder / "now").stat().st_mtime_ns


def size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_as_much_is_filled_as_was_asked_for(tmp_path: Path) -> None:
    deeds.fill(tmp_path, "20", "some")
    assert size_bytes(tmp_path) == 20 * MB


def test_a_change_is_10_mb_each_time(tmp_path: Path) -> None:
    deeds.change(tmp_path, "1")
    assert size_bytes(tmp_path) == 10 * MB
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    deeds.change(tmp_path, "2")
    written = [path for path in tmp_path.iterdir() if path.read_bytes() != before.get(path)]
    assert sum(path.stat().st_size for path in written) == 10 * MB


def test_a_notebook_of_2_mb_differs_in_one_cell_each_time(tmp_path: Path) -> None:
    deeds.notebook(tmp_path, "1")
    before = json.loads((tmp_path / "analysis.ipynb").read_bytes())["cells"]
    assert size_bytes(tmp_path) == pytest.approx(2 * MB, rel=0.05)
    deeds.notebook(tmp_path, "2")
    after = json.loads((tmp_path / "analysis.ipynb").read_bytes())["cells"]
    # What is changed in one is as it was in the other.
    assert [number for number in range(100) if before[number] != after[number]] == [1, 2]


def test_a_repository_is_clean_after_its_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(materials, "FILES", 50)
    materials.write_archive(tmp_path / "tree.tar")
    deeds.repository(tmp_path, str(tmp_path / "tree.tar"))
    before = size_bytes(tmp_path / "tree/.git")
    deeds.commit_again(tmp_path, "1")
    assert size_bytes(tmp_path / "tree/.git") > before
    assert workbench.status(tmp_path)["status"] > 0


def test_the_wheel_of_what_is_installed_can_be_installed(tmp_path: Path) -> None:
    deeds.install_package(tmp_path, str(write_wheel(tmp_path)))
    assert len(list((tmp_path / "installed").rglob("locale-data/*.dat"))) > 900


def test_packages_are_put_together_of_what_is_installed(tmp_path: Path) -> None:
    found = write_packages(tmp_path)
    assert [path.stem for path in found] == list(PACKAGES)
    assert all(path.stat().st_size > MB for path in found)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in found)


@pytest.mark.parametrize(("synced", "every_ms"), [("", 1), ("yes", 10)])
async def test_a_program_notes_each_block_that_it_wrote(
    tmp_path: Path, synced: str, every_ms: int
) -> None:
    deeds.begin_writing(tmp_path, synced)
    await until(lambda: blocks(tmp_path) >= 20, what="it has written 20 blocks")
    count = deeds.end_writing(tmp_path)["stamps"]
    stamps = read_stamps((tmp_path / deeds.STAMPS_NAME).read_bytes())
    assert len(stamps) == count >= 20
    assert list(stamps) == sorted(stamps)
    found = pause(stamps, [Window(stamps[0], stamps[-1])])
    assert found.longest_seconds >= every_ms / 1000


async def test_a_program_that_could_not_write_for_a_while_shows_it(tmp_path: Path) -> None:
    deeds.begin_writing(tmp_path)
    pid = deeds._writers[-1]
    await until(lambda: blocks(tmp_path) >= 2, what="it writes")
    os.kill(pid, signal.SIGSTOP)
    before, written = now_ns(tmp_path), blocks(tmp_path)
    await until(lambda: now_ns(tmp_path) - before > 200 * MB, what="a fifth of a second is over")
    os.kill(pid, signal.SIGCONT)
    await until(lambda: blocks(tmp_path) > written, what="it writes again")
    deeds.end_writing(tmp_path)
    stamps = read_stamps((tmp_path / deeds.STAMPS_NAME).read_bytes())
    assert pause(stamps, [Window(0, stamps[-1])]).longest_seconds > 0.19
