"""`studios checkpoints` about a Studio's, against a real control plane; agents are played here."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from click.testing import CliRunner

from common.messages import CheckpointPhase
from studios import config, saved
from studios.__main__ import cli
from studios.shapes import Checkpoint, StatusInfo, Studio
from studios.surroundings import Surroundings
from tests.control_plane.http.test_checkpoints import ended, running, say, shown
from tests.studios.test_against_the_control_plane import Desk, unreachable
from tests.support.hurried_clock import HurriedClock
from tests.support.plane import open_test_plane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from click.testing import Result

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_test_plane(tmp_path, unreachable) as plane:
        yield Desk(plane, tmp_path)


async def finalized(desk: Desk, session_id: str, run: int = 1) -> str:
    """Save all of a run, and end it; returns the checkpoint's name."""
    await say(desk.plane, session_id, run, run=run, phase=CheckpointPhase.FINALIZED)
    await ended(desk.plane, session_id)
    await desk.plane.clock.advance(60)
    return str((await shown(desk.plane, session_id))["name"])


async def test_the_list_has_the_newest_first_with_age_and_mark(desk: Desk) -> None:
    assert "was saved yet" in (await listed(desk, await desk.plane.add("empty"))).stderr
    session_id = await running(desk.plane, "genome")
    first = await finalized(desk, session_id)
    await desk.plane.run(session_id)
    await desk.plane.clock.advance(1)
    await say(desk.plane, session_id, 1, run=2, message="The disk is slow")
    second = (await shown(desk.plane, session_id))["name"]
    found = await listed(desk, "genome")
    header, *rows = found.stdout.splitlines()
    assert header.split() == ["ID", "NAME", "STATUS", "SAVED", "SIZE", "FILES", "AUTHOR"]
    assert [row.split()[1] for row in rows] == [second, first]
    assert "in use" in rows[0]
    assert rows[0].endswith("latest")
    assert "finalized" in rows[1]
    assert "2.9 KiB" in rows[1]
    assert f"{second}: The disk is slow." in found.stderr
    page = await desk.json("checkpoints", "list", "genome", "--search", "status:finalized")
    assert page["totalSize"] == 1
    assert "No checkpoint matches" in (await listed(desk, "genome", "--search", "xyz")).stderr


async def listed(desk: Desk, *arguments: str) -> Result:
    found = await desk("checkpoints", "list", *arguments)
    assert found.exit_code == 0, found.stderr
    return found


async def test_saving_waits_until_all_that_was_there_is_safe(desk: Desk) -> None:
    session_id = await running(desk.plane, "genome")
    await say(desk.plane, session_id, 1)
    await desk.plane.clock.advance(1)
    async with asyncio.TaskGroup() as group:
        saving = group.create_task(desk("checkpoints", "save", "genome"))
        while not (await shown(desk.plane, session_id))["saving"]:
            await asyncio.sleep(0)
        asked = desk.plane.clock.now()
        await desk.plane.clock.advance(1)
        await say(desk.plane, session_id, 1, in_progress=True)
        assert not saving.done()
        await desk.plane.clock.advance(1)
        await say(desk.plane, session_id, 2, answered_request_at=asked)
    done = saving.result()
    assert done.exit_code == 0, done.stderr
    assert "Saved: 12 files and folders, 2.9 KiB" in done.stdout
    assert f"at {desk.plane.clock.now():%Y-%m-%d %H:%M:%S} UTC" in done.stdout


async def test_saving_ends_with_the_session_or_in_time(desk: Desk) -> None:
    session_id = await running(desk.plane, "genome")
    await say(desk.plane, session_id, 1)
    waited = await desk("checkpoints", "save", "genome", "--timeout", "0")
    assert (waited.exit_code, "still being saved" in waited.stderr) == (6, True)
    asked = await desk("checkpoints", "save", "genome", "--no-wait")
    assert asked.exit_code == 0
    async with asyncio.TaskGroup() as group:
        saving = group.create_task(desk("checkpoints", "save", "genome"))
        await desk.plane.clock.advance(1)
        await ended(desk.plane, session_id)
    assert saving.result().exit_code == 1
    assert "start it first" in (await desk("checkpoints", "save", "genome")).stderr


async def test_why_a_save_takes_long_is_said_once(desk: Desk) -> None:
    session_id = await running(desk.plane, "genome")
    await say(desk.plane, session_id, 1, message="The bucket doesn't answer")
    obj = Surroundings(settings=config.parse(desk.environ), clock=HurriedClock(), program="studios")
    arguments = ("checkpoints", "save", "genome", "--timeout", "1000000")
    await desk.plane.clock.advance(1)
    async with asyncio.TaskGroup() as group:
        saving = group.create_task(asyncio.to_thread(CliRunner().invoke, cli, arguments, obj=obj))
        while not (await shown(desk.plane, session_id))["saving"]:
            await asyncio.sleep(0)
        await say(desk.plane, session_id, 1, message="The bucket is full")
        before = await looks(desk)
        while await looks(desk) < before + 3:
            await asyncio.sleep(0)
        await ended(desk.plane, session_id)
    told = "Not saved yet: The bucket is full. It is tried again by itself."
    assert saving.result().stderr.count(told) == 1
    assert "ended before it was saved once more" in saving.result().stderr


async def looks(desk: Desk) -> float:
    """How often anybody has looked at a Studio."""
    lines = (await desk.plane.admin.get("/metrics")).text.splitlines()
    asked = (
        'studios_http_requests_total{method="GET",route="/api/studios/{sessionId}",status="200"}'
    )
    (line,) = [line for line in lines if line.startswith(asked)]
    return float(line.rpartition(" ")[2])


async def test_a_checkpoint_is_renamed_by_name_number_and_as_the_latest(desk: Desk) -> None:
    session_id = await running(desk.plane, "genome")
    name = await finalized(desk, session_id)
    for wanted in (name, "latest", "1"):
        done = await desk("checkpoints", "rename", "genome", wanted, f"was {wanted}")
        assert done.exit_code == 0, done.stderr
        assert f"was_{wanted} now." in done.stderr
    missing = await desk("checkpoints", "rename", "genome", "other", "x")
    assert (missing.exit_code, "checkpoints list" in missing.stderr) == (3, True)
    await desk.plane.run(session_id)
    await desk.plane.clock.advance(1)
    await say(desk.plane, session_id, 1, run=2)
    clash = await desk("checkpoints", "rename", "genome", "latest", "was 1")
    assert (clash.exit_code, "choose another name" in clash.stderr) == (1, True)


async def test_deleting_says_what_is_lost_and_why_not(desk: Desk) -> None:
    session_id = await running(desk.plane, "genome")
    first = await finalized(desk, session_id)
    refused = await desk("checkpoints", "delete", "genome", first, "--yes")
    assert (refused.exit_code, "next session begins" in refused.stderr) == (1, True)
    await desk.plane.run(session_id)
    await desk.plane.clock.advance(1)
    await finalized(desk, session_id, 2)
    asked = await desk("checkpoints", "delete", "genome", first)
    assert asked.exit_code == 1
    assert "(12 files and folders, 2.9 KiB)?" in asked.stderr
    done = await desk("checkpoints", "delete", "genome", first, "--yes")
    assert (done.exit_code, done.stderr) == (0, f"{first} of genome is deleted.\n")
    for wrong in (["genome"], [first, "--even-if-written"], ["a", "b", "-w", "/nowhere"], []):
        assert (await desk("checkpoints", "delete", *wrong)).exit_code == 2


async def test_another_studio_is_started_from_a_checkpoint(desk: Desk) -> None:
    session_id = await running(desk.plane, "genome")
    await say(desk.plane, session_id, 1)
    busy = await desk("checkpoints", "start-as-new", "genome", "second")
    assert (busy.exit_code, "stop that Studio first" in busy.stderr) == (1, True)
    name = await finalized(desk, session_id)
    second = await desk.json("checkpoints", "start-as-new", "genome", "second", "--no-start")
    assert second["parentCheckpoint"]["checkpointName"] == name  # type: ignore[index]
    assert second["statusInfo"]["status"] == "stopped"  # type: ignore[index]
    third = await desk.json(
        *("checkpoints", "start-as-new", "genome", "third"), *("--checkpoint", name, "--private")
    )
    assert third["statusInfo"]["status"] == "starting"  # type: ignore[index]
    assert third["isPrivate"] is True


async def test_view_says_how_old_what_is_saved_is(desk: Desk) -> None:
    session_id = await running(desk.plane, "genome")
    assert "Saved nothing yet" in " ".join((await desk("view", "genome")).stdout.split())
    await say(desk.plane, session_id, 1)
    assert "Saved 0 s ago" in " ".join((await desk("view", "genome")).stdout.split())


def studio(standing: str = "running", **fields: Any) -> Studio:
    one = {"id": 1, "name": "one", "status": "interim", "run_number": 2, "date_created": NOW}
    return Studio(
        session_id="0a1b2c3d",
        name="genome",
        status_info=StatusInfo(status=standing),
        run_number=2,
        checkpoint=Checkpoint(**{**one, **fields}),
    )


@pytest.mark.parametrize(
    ("minutes", "message", "expected"),
    [
        (10, "", ""),
        (12, "", "What was changed in the last 12 min is not saved."),
        (12, "No", "What was changed in the last 12 min is not saved. No. It is tried again"),
    ],
)
def test_a_running_studio_is_late_after_two_intervals(
    minutes: int, message: str, expected: str
) -> None:
    one = studio(date_saved=NOW, message=message)
    assert saved.lateness(one, NOW + timedelta(minutes=minutes)).startswith(expected)
    assert bool(saved.lateness(one, NOW + timedelta(minutes=minutes))) == bool(expected)


def test_two_intervals_are_as_long_as_an_administrator_has_them() -> None:
    one = msgspec.structs.replace(studio(date_saved=NOW), checkpoint_interval_seconds=1800)
    assert not saved.lateness(one, NOW + timedelta(minutes=60))
    assert saved.lateness(one, NOW + timedelta(minutes=62))


def test_what_only_a_machine_has_is_said_of_sessions_that_are_over() -> None:
    later = NOW + timedelta(hours=3)
    assert saved.in_short(studio("stopped", date_saved=NOW), later).startswith("3 h ago; what came")
    assert saved.in_short(studio("stopped", date_saved=NOW, status="finalized"), later) == "3 h ago"
    assert saved.in_short(studio(saving=True), later) == "nothing yet, and being saved now"
    assert saved.lateness(studio(), later) == "None of the files have been saved yet."


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-5, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (864_000, "10 days"),
    ],
)
def test_durations_are_as_exact_as_matters(seconds: float, expected: str) -> None:
    assert saved.duration(seconds) == expected
