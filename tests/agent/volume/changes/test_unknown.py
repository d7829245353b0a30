"""Where a list would be wrong, none is given: the caller compares everything instead."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import msgspec
import pytest

from agent.volume.changes import names
from agent.volume.changes.finder import changed
from agent.volume.changes.point import UPPER, point_of
from agent.volume.changes.unknown import ChangesUnknownError, InnerSubvolumeError
from tests.support.long_paths import LEVELS_SAVED, NAME, make_deep
from tests.support.volume_line import mounted, run

if TYPE_CHECKING:
    from pathlib import Path

    from agent.volume.changes.point import Point
    from tests.support.volume_line import Mounted


def _point(volume: Mounted) -> Point:
    with volume.snapshot() as snapshot:
        return point_of(snapshot)


def test_a_point_is_kept_as_text_and_found_again(volume: Mounted, upper: Path) -> None:
    point = _point(volume)
    kept = msgspec.json.decode(msgspec.json.encode(point), type=type(point))
    assert kept == point
    (upper / "large").chmod(0o600)
    with volume.snapshot() as snapshot:
        assert changed(snapshot, kept).paths == (b"large",)


def test_a_point_outlives_the_mount(volume: Mounted, upper: Path) -> None:
    point = _point(volume)
    (upper / "large").chmod(0o600)
    volume.unmount()
    volume.mount()
    with volume.snapshot() as snapshot:
        assert changed(snapshot, point).paths == (b"large",)


def test_points_of_later_snapshots_are_later(volume: Mounted, upper: Path) -> None:
    """Also where the snapshot itself is written to by the kernel once it is made."""
    first = _point(volume)
    fd = os.open(upper / "large", os.O_RDWR)
    (upper / "large").unlink()
    with volume.snapshot() as snapshot:
        second = point_of(snapshot)
        (upper / "same").chmod(0o600)
        os.sync()
        shown = subprocess.run(
            ["btrfs", "subvolume", "show", snapshot], capture_output=True, text=True, check=True
        ).stdout
        (own,) = (int(line.split()[1]) for line in shown.splitlines() if "Generation:" in line)
        assert own > second.generation, "or there is no trap here any more"
        assert point_of(snapshot) == second
    os.close(fd)
    assert first.line == second.line
    assert first.generation < second.generation
    with volume.snapshot() as snapshot:
        assert changed(snapshot, second).paths == (b"same",)


def test_a_volume_made_anew_has_another_line(volume: Mounted, upper: Path) -> None:
    point = _point(volume)
    volume.prepare()
    with volume.snapshot() as snapshot:
        with pytest.raises(ChangesUnknownError, match="another volume"):
            changed(snapshot, point)


def test_another_file_system_has_another_line(volume: Mounted, upper: Path) -> None:
    point = _point(volume)
    with mounted(128 * 1024**2) as other, other.snapshot() as snapshot:
        with pytest.raises(ChangesUnknownError, match="another volume"):
            changed(snapshot, point)


def test_another_upper_folder_has_another_line(volume: Mounted, upper: Path) -> None:
    """What is in a folder that takes the place of another was not touched by that."""
    (volume.active / "spare").mkdir()
    (volume.active / "spare/unseen").touch()
    point = _point(volume)
    upper.rename(volume.active / "old")
    (volume.active / "spare").rename(upper)
    with volume.snapshot() as snapshot:
        with pytest.raises(ChangesUnknownError, match="another volume"):
            changed(snapshot, point)


def test_an_image_that_was_put_back_is_noticed(volume: Mounted, upper: Path) -> None:
    point = _point(volume)
    later = msgspec.structs.replace(point, generation=point.generation + 1000)
    with volume.snapshot() as snapshot:
        with pytest.raises(ChangesUnknownError, match="old image"):
            changed(snapshot, later)


def test_only_read_only_snapshots_are_trusted(volume: Mounted, upper: Path) -> None:
    point = _point(volume)
    with pytest.raises(ChangesUnknownError, match="read-only"):
        changed(volume.active, point)
    with volume.snapshot() as snapshot:
        run("btrfs", "property", "set", "-f", snapshot, "ro", "false")
        with pytest.raises(ChangesUnknownError, match="read-only"):
            point_of(snapshot)


def test_what_is_no_btrfs_is_compared(tmp_path: Path, volume: Mounted, upper: Path) -> None:
    (tmp_path / UPPER).mkdir()
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ChangesUnknownError, match="all files are compared"):
            point_of(path)
        with pytest.raises(ChangesUnknownError, match="all files are compared"):
            changed(path, _point(volume))


def test_too_many_changes_are_compared(volume: Mounted, upper: Path) -> None:
    point = _point(volume)
    for number in range(9):
        os.link(upper / "large", upper / f"{number}")
    with volume.snapshot() as snapshot:
        assert len(changed(snapshot, point, paths_max=11).paths) == 11
        with pytest.raises(ChangesUnknownError, match="more than 10 paths"):
            changed(snapshot, point, paths_max=10)


@pytest.mark.parametrize("levels", [LEVELS_SAVED, LEVELS_SAVED + 1, 3 * LEVELS_SAVED])
def test_paths_that_nobody_can_open_are_left_out(volume: Mounted, upper: Path, levels: int) -> None:
    point = _point(volume)
    make_deep(upper, levels=levels)
    (upper / "later").touch()
    with volume.snapshot() as snapshot:
        paths = changed(snapshot, point).paths
        is_whole = levels == LEVELS_SAVED
        assert len(paths) == 2 + LEVELS_SAVED + is_whole
        assert {b"", b"later"} < set(paths)
        assert max(map(len, paths)) == 16 * 251 - 1 + 5 * is_whole


@pytest.mark.parametrize(("levels_max", "paths"), [(3, 2), (2, 0)])
def test_a_chain_of_more_folders_than_a_path_can_have_is_left_out(
    volume: Mounted, upper: Path, monkeypatch: pytest.MonkeyPatch, levels_max: int, paths: int
) -> None:
    make_deep(upper, levels=4)
    point = _point(volume)
    monkeypatch.setattr(names, "_LEVELS_MAX", levels_max)
    (upper / "/".join([NAME] * 4) / "other").touch()
    with volume.snapshot() as snapshot:
        assert len(changed(snapshot, point).paths) == paths, "of the file and its folder"


def test_paths_of_too_many_bytes_are_compared(
    volume: Mounted, upper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = _point(volume)
    (upper / ("n" * 250) / ("m" * 250)).mkdir(parents=True)
    (upper / ("n" * 250) / ("m" * 250) / "file").touch()
    with volume.snapshot() as snapshot:
        assert len(changed(snapshot, point).paths) == 4
        monkeypatch.setattr(names, "FOLDERS_BYTES_MAX", 700)
        with pytest.raises(ChangesUnknownError, match="too long"):
            changed(snapshot, point)


def test_a_subvolume_inside_is_named(volume: Mounted, upper: Path) -> None:
    """A snapshot has nothing of it, and neither would the checkpoint."""
    point = _point(volume)
    run("btrfs", "subvolume", "create", upper / "other/inner")
    (upper / "other/inner/file").touch()
    with volume.snapshot() as snapshot:
        assert os.listdir(snapshot / UPPER / "other/inner") == []
        with pytest.raises(InnerSubvolumeError, match="'inner' is a subvolume"):
            changed(snapshot, point)
    run("btrfs", "subvolume", "delete", upper / "other/inner")
    with volume.snapshot() as snapshot:
        assert changed(snapshot, point).paths == (b"other",)
