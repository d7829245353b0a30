"""What `studios up` is told of its sessions: folders to carry into them, sizes of their volumes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from common.clock import SteppingClock
from common.session_spec import SessionSettings, VolumeLimits
from control_plane import app
from studios.failures import CommandError
from studios.up import checks, command
from studios.up.own_programs import OwnPrograms
from studios.up.plan import Plan
from tests.support.full_disk import small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from control_plane.config import ControlPlaneConfig
    from studios.surroundings import Surroundings
    from tests.studios.conftest import Studios


@pytest.fixture(autouse=True)
def _umask_restored() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """What was asked for; nothing is started."""
    asked: list[Plan] = []

    def keep(plan: Plan, _: Surroundings) -> int:
        asked.append(plan)
        return 0

    monkeypatch.setattr(checks, "check_all", lambda _: ())
    monkeypatch.setattr(command, "_run", keep)
    return asked


async def test_carried_folders_can_be_several(
    studios: Studios, plans: list[Plan], tmp_path: Path
) -> None:
    result = await studios("up", "--carry", "/usr/share", "--carry", "/opt")
    assert result.exit_code == 0
    assert plans[0].carried == (Path("/usr/share"), Path("/opt"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--carry", "relative"), "not an absolute path"),
        (("--carry", "/"), "sees already"),
        (("--carry", "/opt", "--carry", "/proc"), "/proc lies in /proc"),
        (("--carry", "DATA"), "where everybody's data is kept"),
        (("--carry", "DATA/.."), "where everybody's data is kept"),
        (("--carry", "/opt/studios", "--work-dir", "/opt"), "would show sessions /opt"),
    ],
)
async def test_others_are_refused_with_a_sentence_and_nothing_made(
    studios: Studios, plans: list[Plan], tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    data = str(tmp_path / "data")
    (tmp_path / "data").mkdir()
    result = await studios("up", *(part.replace("DATA", data) for part in arguments))
    assert result.exit_code == 2
    assert words in result.stderr
    assert plans == []
    assert os.listdir(data) == []


async def served(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> ControlPlaneConfig:
    """Return what the control plane is told."""
    told: list[ControlPlaneConfig] = []

    async def serve(config: ControlPlaneConfig, **_: object) -> None:
        told.append(config)

    monkeypatch.setattr(app, "serve", serve)
    await OwnPrograms().control_plane(plan, SteppingClock(), lambda _: None)
    return told[0]


async def test_control_plane_is_told_of_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sizes = VolumeLimits(limit_bytes=10 * 1024**3)
    plan = Plan(data_dir=tmp_path, work_dir="file:///w", carried=(tmp_path,), volume=sizes)
    config = await served(monkeypatch, plan)
    assert config.carried == (tmp_path,)
    assert config.volume == sizes


async def test_sizes_come_from_the_environment(
    studios: Studios, plans: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIO_VOLUME_LIMIT", "10 GB")
    assert (await studios("up")).exit_code == 0
    assert plans[0].volume == VolumeLimits(limit_bytes=10 * 1024**3)


async def test_how_often_they_are_saved_comes_from_the_environment(
    studios: Studios, plans: list[Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIO_CHECKPOINT_INTERVAL", "2 min")
    assert (await studios("up")).exit_code == 0
    assert plans[0].session == SessionSettings(checkpoint_interval_seconds=120)
    assert (await served(monkeypatch, plans[0])).session == plans[0].session
    monkeypatch.setenv("STUDIO_CHECKPOINT_INTERVAL", "often")
    result = await studios("up")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "STUDIO_CHECKPOINT_INTERVAL: 'often' is not a time" in result.stderr


@pytest.mark.parametrize("size", ["1 GB", "a lot"])
async def test_sizes_that_can_not_be_are_one_sentence_and_nothing_made(
    studios: Studios, plans: list[Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    monkeypatch.setenv("STUDIO_VOLUME_LIMIT", size)
    result = await studios("up")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "STUDIO_VOLUME_LIMIT" in result.stderr
    assert (plans, os.listdir(tmp_path)) == ([], [])


async def test_folder_that_went_away_is_one_sentence(tmp_path: Path) -> None:
    plan = Plan(data_dir=tmp_path, work_dir="file:///srv/work", carried=(Path("/nowhere"),))
    with pytest.raises(CommandError, match="/nowhere is not a folder of this machine"):
        await OwnPrograms().control_plane(plan, SteppingClock(), lambda _: None)


async def test_database_that_a_full_disk_keeps_closed_is_one_sentence(tmp_path: Path) -> None:
    with small_disk(tmp_path, size_bytes=4 * 1024**2) as disk:
        (tmp_path / "control-plane.lock").touch()
        (tmp_path / "studios.db").touch()
        disk.fill()
        plan = Plan(data_dir=tmp_path, work_dir="file:///srv/work")
        with pytest.raises(CommandError, match="The disk of the data folder is full"):
            await OwnPrograms().control_plane(plan, SteppingClock(), lambda _: None)
