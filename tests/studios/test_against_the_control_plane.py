"""The command line against the real API: what the fake promises is what the control plane does."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest
from click.testing import CliRunner

from control_plane.api import people, shapes as served
from studios import config, shapes, shapes_of_people
from studios.__main__ import cli
from studios.surroundings import Surroundings
from tests.support.plane import Plane, open_test_plane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from click.testing import Result

    from control_plane.config import ControlPlaneConfig


class Desk:
    """A person with the command line, in front of a real control plane."""

    def __init__(self, plane: Plane, home: Path) -> None:
        self.plane = plane
        self.environ = {
            "HOME": str(home),
            "STUDIOS_URL": f"http://studio.localhost:{plane.plane.port}",
            "STUDIOS_TOKEN": plane.admin.headers["Authorization"].removeprefix("Bearer "),
        }

    async def __call__(self, *arguments: str) -> Result:
        obj = Surroundings(settings=config.parse(self.environ))
        return await asyncio.to_thread(CliRunner().invoke, cli, arguments, obj=obj)

    async def json(self, *arguments: str) -> dict[str, object]:
        result = await self(*arguments, "-o", "json")
        assert result.exit_code == 0, result.stderr
        found: dict[str, object] = json.loads(result.stdout)
        return found


def unreachable(c: ControlPlaneConfig) -> ControlPlaneConfig:
    """On a free port, with sessions at port 1, which nobody serves."""
    return replace(c, port=0, connect_domain="studio.localhost:1")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_test_plane(tmp_path, unreachable) as plane:
        yield Desk(plane, tmp_path)


async def test_a_studio_from_adding_to_deleting(desk: Desk) -> None:
    added = await desk.json("add", "genome", "--template", "jupyterlab", "--lifespan", "3")
    assert added["effectiveLifespanHours"] == 3
    session_id = str(added["sessionId"])
    for name in ("genome", session_id):
        assert (await desk.json("view", name))["statusInfo"] == added["statusInfo"]
    assert session_id in (await desk("list")).stdout
    started = await desk.json("start", "genome")
    assert started["statusInfo"]["status"] == "starting"  # type: ignore[index]
    refused = await desk("delete", "genome", "--yes")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: ")
    assert (await desk("stop", "genome")).exit_code == 0
    await desk.json("add", "other", "--template", "jupyterlab", "--private")
    assert (await desk("delete", "other", "--yes")).exit_code == 0
    assert (await desk("view", "other")).exit_code == 3


async def test_a_running_studio_is_extended_and_stopped(desk: Desk) -> None:
    session_id = await desk.plane.add("genome")
    await desk.plane.run(session_id)
    before = await desk.json("view", "genome")
    desk.plane.clock.jump(600)
    after = await desk.json("extend", "genome")
    assert str(after["deadline"]) > str(before["deadline"])
    assert "is stopping" in (await desk("stop", "genome")).stdout


async def test_people_from_adding_to_removing(desk: Desk) -> None:
    added = await desk("users", "add", "maria", "--role", "launch")
    assert added.stdout.startswith("http://studio.localhost:9191/login?token=")
    assert (await desk("users", "role", "maria", "--role", "view")).exit_code == 0
    listed = await desk.json("users", "list")
    roles = {user["userName"]: user["role"] for user in listed["users"]}  # type: ignore[attr-defined]
    assert roles == {"admin": "owner", "maria": "view"}
    link = await desk.json("login", "--link", "maria")
    assert "/login?token=" in str(link["loginUrl"])
    assert (await desk("users", "remove", "maria")).exit_code == 0
    assert "maria" not in (await desk("users", "list")).stdout


async def test_templates_can_be_added_from(desk: Desk) -> None:
    found = await desk.json("templates")
    assert found["templates"][0]["name"] == "jupyterlab"  # type: ignore[index]


async def test_a_studio_that_never_ran_left_no_log(desk: Desk) -> None:
    await desk.plane.add("genome")
    result = await desk("logs", "genome")
    assert result.exit_code == 1
    assert "left no log" in result.stderr


async def test_a_log_that_cannot_be_reached_says_so(desk: Desk) -> None:
    await desk.plane.run(await desk.plane.add("genome"))
    result = await desk("logs", "genome")
    assert result.exit_code == 5
    assert ".studio.localhost:1/" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (("add", "", "--template", "jupyterlab"), 1),
        (("add", "x" * 81, "--template", "jupyterlab"), 1),
        (("add", "x", "--template", "jupyterlab", "--env", "CONNECT_TOOL_PORT=1"), 1),
        (("start", "nothing"), 3),
        (("extend", "genome"), 1),
        (("users", "add", "admin", "--role", "view"), 1),
        (("users", "remove", "admin"), 1),
    ],
)
async def test_wrong_wishes_get_a_sentence(
    desk: Desk, arguments: tuple[str, ...], exit_code: int
) -> None:
    await desk.plane.add("genome")
    result = await desk(*arguments)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


async def test_others_may_do_what_their_role_says(desk: Desk) -> None:
    await desk.plane.add("genome")
    viewer = await desk.plane.member("view")
    desk.environ["STUDIOS_TOKEN"] = viewer.headers["Authorization"].removeprefix("Bearer ")
    assert (await desk("list")).exit_code == 0
    refused = await desk("start", "genome")
    assert refused.exit_code == 4
    assert refused.stderr.startswith("Error: ")


NOT_SHOWN = {
    # parts that are always empty here, for clients of the reference platform
    "waveBuildUrl",
    "baseImage",
    "customImage",
    "remoteConfig",
}


@pytest.mark.parametrize(
    ("server", "ours"),
    [
        (served.StudioShape, shapes.Studio),
        (served.StatusShape, shapes.StatusInfo),
        (served.StepShape, shapes.ProgressStep),
        (served.UserShape, shapes.Person),
        (served.ConnectionShape, shapes.Connection),
        (served.ComputeEnvShape, shapes.ComputeEnv),
        (served.TemplateShape, shapes.Template),
        (served.LabelShape, shapes.Label),
        (served.HealthShape, shapes.Health),
        (served.ResourceShape, shapes.ResourceUse),
        (served.ToolShape, shapes.Tool),
        (served.ActivityShape, shapes.Activity),
        (served.CheckpointShape, shapes.Checkpoint),
        (served.CheckpointList, shapes.CheckpointPage),
        (served.ParentCheckpointShape, shapes.ParentCheckpoint),
        (people.UserReply, shapes_of_people.User),
    ],
    ids=lambda kind: kind.__name__,
)
def test_json_output_has_every_field_of_the_api(
    server: type[msgspec.Struct], ours: type[msgspec.Struct]
) -> None:
    assert encoded_names(server) - NOT_SHOWN == encoded_names(ours)


def encoded_names(kind: type[msgspec.Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind)}
