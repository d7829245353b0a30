"""What a run's agent is told, and the settings that it comes from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from common.session_spec import SessionSettings, VolumeLimits
from control_plane.config import (
    ControlPlaneConfig,
    InvalidConfigError,
    bucket_access,
    embedded,
    from_environment,
    session_settings,
    volume_limits,
)
from control_plane.model import DEFAULT_COMPUTE_ENV, Configuration
from control_plane.settings import Limits
from control_plane.spec_builder import build_spec
from control_plane.validation import CreateStudio
from control_plane.volume_sizes import parse_size, problem_of_sizes, show_size

if TYPE_CHECKING:
    from common.session_spec import SessionSpec
    from tests.support.core_plane import Plane

GB = 1024**3


async def started(plane: Plane, configuration: Configuration | None = None) -> SessionSpec:
    """Start a Studio; return what its engine was given."""
    request = CreateStudio(
        name="demo",
        compute_env_id=DEFAULT_COMPUTE_ENV,
        configuration=configuration or Configuration(),
    )
    studio = await plane.service.create(plane.admin, request, auto_start=True)
    await plane.reconciler.run_once()
    (agent,) = [a for key, a in plane.host.agents.items() if key[0] == studio.session_id]
    assert agent.spec is not None
    return agent.spec


async def test_tool_works_in_the_sessions_own_workspace(plane: Plane) -> None:
    spec = await started(plane)
    assert spec.tool.working_directory == "/workspace"
    assert spec.host_state_dir == f"/nowhere/sessions/{spec.session_id}"


async def test_studios_cpu_and_memory_limit_its_session(plane: Plane) -> None:
    resources = (await started(plane, Configuration(cpu=3, memory=1024))).resources
    assert resources.cpus == 3.0
    assert resources.memory_bytes == GB
    assert resources.processes is None  # the agent's own default


async def test_volume_has_the_documented_sizes(plane: Plane) -> None:
    volume = (await started(plane)).volume
    assert volume == VolumeLimits(
        initial_bytes=2 * GB, free_bytes_min=GB, step_bytes=2 * GB, limit_bytes=30 * GB
    )


async def test_volume_ends_at_the_compute_environments_disk_limit(plane: Plane) -> None:
    await plane.service.ensure_workspace(work_dir="file:///w", disk_limit_bytes=5 * GB)
    await plane.service.ensure_workspace(work_dir="file:///w")  # what is not said stays
    assert (await started(plane)).volume == VolumeLimits(limit_bytes=5 * GB)


async def test_agents_are_told_how_to_reach_the_bucket_and_how_often_to_save(plane: Plane) -> None:
    core = plane.service.core
    await plane.service.ensure_workspace(work_dir="s3://bucket/path")
    studio = (await started(plane)).session_id
    async with core.store.read() as transaction:
        found = await transaction.studio(studio)
        env = await transaction.compute_env(DEFAULT_COMPUTE_ENV)
    assert found is not None
    keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_REGION": "there"}
    settings = replace(
        core.settings,
        session=SessionSettings(checkpoint_interval_seconds=60),
        access=bucket_access("s3://bucket/path", keys),
    )
    spec = build_spec(
        found,
        next(iter(core.templates.values())),
        env,
        checkpoint=None,
        signer=core.signer,
        settings=settings,
    )
    assert spec.work_directory.credentials["secret_access_key"].reveal() == "key"
    assert (spec.work_directory.url, spec.work_directory.region) == ("s3://bucket/path", "there")
    assert spec.settings.checkpoint_interval_seconds == 60


def test_agent_has_time_to_end_in_order() -> None:
    tool_seconds = SessionSettings().stop_grace_seconds
    assert tool_seconds + 90 <= Limits().stop_grace_seconds < Limits().force_after_seconds


# ── Sizes ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("2 GB", 2 * GB),
        ("2GB", 2 * GB),
        (" 512 mb ", GB // 2),
        ("1.5 TB", 1536 * GB),
        ("0.5 GB", GB // 2),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes
    assert parse_size(show_size(size_bytes)) == size_bytes


@pytest.mark.parametrize("text", ["", "2", "2 G", "-2 GB", "2 GB more", "1e3 MB", "٢ GB", "nan GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write it like 2 GB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"initial_bytes": GB // 8}, "initial size is at least 256 MB"),
        ({"free_bytes_min": 0}, "minimum of free space is at least 64 MB"),
        ({"step_bytes": 1}, "step is at least 64 MB"),
        ({"free_bytes_min": 2 * GB}, "2 GB at first can't keep 2 GB free"),
        ({"limit_bytes": GB}, "2 GB at first is over the limit of 1 GB"),
        ({"initial_bytes": 40 * GB}, "40 GB at first is over the limit of 30 GB"),
    ],
)
def test_sizes_that_can_not_be_are_named(changes: dict[str, int], words: str) -> None:
    volume = msgspec.structs.replace(VolumeLimits(), **changes)
    problem = problem_of_sizes(volume)
    assert problem is not None
    assert words in problem
    with pytest.raises(InvalidConfigError, match=words):
        replace(embedded(images_dir=Path("/nowhere")), volume=volume)


def test_sizes_that_just_fit_are_taken() -> None:
    assert problem_of_sizes(VolumeLimits()) is None
    exact = VolumeLimits(
        initial_bytes=GB, limit_bytes=GB, free_bytes_min=GB // 2, step_bytes=GB // 4
    )
    assert problem_of_sizes(exact) is None


def test_sizes_come_from_the_environment() -> None:
    environ = {"STUDIO_VOLUME_INITIAL": "4 GB", "STUDIO_VOLUME_FREE": "512 MB"}
    more = {"STUDIO_VOLUME_STEP": "1 GB", "STUDIO_VOLUME_LIMIT": "10 GB"}
    wanted = VolumeLimits(
        initial_bytes=4 * GB, free_bytes_min=GB // 2, step_bytes=GB, limit_bytes=10 * GB
    )
    assert volume_limits({**environ, **more}) == wanted
    assert from_environment({**environ, **more}).volume == wanted
    assert volume_limits({"STUDIO_VOLUME_STEP": ""}) == VolumeLimits()
    with pytest.raises(InvalidConfigError, match="STUDIO_VOLUME_STEP: '1' is not a size"):
        volume_limits({"STUDIO_VOLUME_STEP": "1"})


@pytest.mark.parametrize(
    ("text", "seconds"), [("90 s", 90), ("5 min", 300), ("1.5h", 5400), ("24 h", 86_400)]
)
def test_how_often_sessions_are_saved_comes_from_the_environment(text: str, seconds: float) -> None:
    settings = SessionSettings(checkpoint_interval_seconds=seconds)
    assert session_settings({"STUDIO_CHECKPOINT_INTERVAL": text}) == settings
    assert from_environment({"STUDIO_CHECKPOINT_INTERVAL": text}).session == settings
    assert from_environment({"STUDIO_CHECKPOINT_INTERVAL": ""}).session == SessionSettings()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("5", "is not a time"), ("five min", "is not a time"), ("-5 min", "is not a time"),
        ("29 s", "is not between"), ("25 h", "is not between"), ("0 s", "is not between"),
    ],
)  # fmt: skip
def test_an_interval_that_can_not_be_is_named(text: str, why: str) -> None:
    with pytest.raises(InvalidConfigError, match=f"STUDIO_CHECKPOINT_INTERVAL: '{text}' {why}"):
        session_settings({"STUDIO_CHECKPOINT_INTERVAL": text})


def test_carried_folders_come_from_the_environment() -> None:
    config: ControlPlaneConfig = from_environment({"STUDIOS_CARRY": "/data:/mnt/b c:"})
    assert config.carried == (Path("/data"), Path("/mnt/b c"))
    assert from_environment({}).carried == ()
