"""Bad requests are answered with sentences; good ones with nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from common.ids import UserId
from common.templates import load_templates
from control_plane.model import (
    DEFAULT_COMPUTE_ENV,
    Configuration,
    DataMount,
    LabelId,
    SessionConfiguration,
    WorkspaceSettings,
)
from control_plane.validation import (
    CreateStudio,
    StartStudio,
    UpdateStudio,
    World,
    parse_template,
    problems_of_create,
    problems_of_name,
    problems_of_settings,
    problems_of_start,
    problems_of_update,
    with_template,
)

TEMPLATES = load_templates(Path(__file__).parents[3] / "images")
WORLD = World(
    templates=TEMPLATES,
    compute_env_ids=frozenset({DEFAULT_COMPUTE_ENV}),
    user_ids=frozenset({UserId(1)}),
    label_ids=frozenset({LabelId(1)}),
    settings=WorkspaceSettings(),
)
UNNAMED = CreateStudio(name="demo", compute_env_id=DEFAULT_COMPUTE_ENV)
GOOD = with_template(UNNAMED, None)


def of_configuration(**fields: Any) -> list[str]:
    return problems_of_create(
        msgspec.structs.replace(GOOD, configuration=Configuration(**fields)), WORLD
    )


def test_good_request_has_no_problems() -> None:
    request = msgspec.structs.replace(
        GOOD,
        name="Ünïcode – ok",
        description="d" * 2048,
        configuration=Configuration(lifespan_hours=120, environment={"_a1": "x", "B": ""}),
        allowed_user_ids=(UserId(1),),
        label_ids=(LabelId(1),),
    )
    assert problems_of_create(request, WORLD) == []


def test_a_template_is_named_inherited_or_the_usual_one() -> None:
    named = msgspec.structs.replace(UNNAMED, data_studio_tool_url="mine")
    assert with_template(named, "inherited").data_studio_tool_url == "mine"
    assert with_template(UNNAMED, "inherited").data_studio_tool_url == "inherited"
    assert with_template(UNNAMED, None).data_studio_tool_url == "jupyterlab"


@pytest.mark.parametrize("name", ["a", "a" * 80, "名前", "with space", "émoji 🎉"])
def test_names_that_are_fine(name: str) -> None:
    assert problems_of_name(name) == []


@pytest.mark.parametrize("name", ["", " ", "a" * 81, "a\nb", "a\0", "\x7f", "\u009f", " a", "a "])
def test_names_that_are_not(name: str) -> None:
    (problem,) = problems_of_name(name)
    assert problem.endswith(".")
    assert ":" in problem


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"lifespan_hours": 121}, "choose 1 to 120, or 0"),
        ({"lifespan_hours": -1}, "choose 1 to 120"),
        ({"cpu": 0}, "choose 1 to"),
        ({"memory": 1}, "choose 256 to"),
        ({"gpu": -1}, "choose 0 to"),
        ({"environment": {"1A": ""}}, "not beginning with a digit"),
        ({"environment": {"A-B": ""}}, "use letters"),
        ({"environment": {"Ä": ""}}, "use letters"),
        ({"environment": {"A\n": ""}}, "use letters"),
        ({"environment": {"CONNECT_X": ""}}, "CONNECT_X is reserved"),
        ({"environment": {"A": "a\0b"}}, "NUL"),
        ({"environment": {"A": "x" * 32769}}, "put it into a file"),
        ({"environment": {f"A{n}": "" for n in range(201)}}, "use 200 at most"),
        ({"mount_data": ("x",)}, "leave mountData out"),
        ({"mount_data_v2": (DataMount(data_link_id="x"),)}, "leave mountData out"),
        ({"conda_environment": "numpy"}, "install them later"),
        ({"ssh_enabled": True}, "leave sshEnabled out"),
    ],
)
def test_configurations_that_are_not_possible(fields: dict[str, Any], said: str) -> None:
    (problem,) = of_configuration(**fields)
    assert said in problem


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"data_studio_tool_url": "nonsense"}, "choose one of jupyterlab:"),
        ({"data_studio_tool_url": "jupyterlab:0.0.0-9.9"}, "choose one of"),
        ({"compute_env_id": "moon"}, "choose one of local"),
        ({"description": "d" * 2049}, "shorten it to 2048"),
        ({"description": "a\0b"}, "NUL"),
        ({"allowed_user_ids": (UserId(9),)}, "no user 9"),
        ({"label_ids": (LabelId(9),)}, "no label 9"),
        ({"spot": True}, "leave spot out"),
        ({"remote_config": {"a": 1}}, "leave remoteConfig out"),
    ],
)
def test_requests_that_are_not_possible(fields: dict[str, Any], said: str) -> None:
    (problem,) = problems_of_create(msgspec.structs.replace(GOOD, **fields), WORLD)
    assert said in problem


def test_all_problems_are_told_at_once() -> None:
    request = msgspec.structs.replace(GOOD, name="", configuration=Configuration(cpu=0, memory=0))
    assert len(problems_of_create(request, WORLD)) == 3


def test_workspace_lifespan_locks_the_field() -> None:
    world = World(
        templates=TEMPLATES,
        compute_env_ids=WORLD.compute_env_ids,
        user_ids=frozenset(),
        label_ids=frozenset(),
        settings=WorkspaceSettings(lifespan_hours=4),
    )
    (problem,) = problems_of_start(
        StartStudio(configuration=SessionConfiguration(lifespan_hours=8)), world
    )
    assert "The workspace sets the lifespan to 4 hours" in problem
    same = StartStudio(configuration=SessionConfiguration(lifespan_hours=4))
    assert problems_of_start(same, world) == []


def test_update_checks_only_what_it_names() -> None:
    assert problems_of_update(UpdateStudio(), WORLD) == []
    assert len(problems_of_update(UpdateStudio(name="", label_ids=(LabelId(9),)), WORLD)) == 2


@pytest.mark.parametrize(("hours", "count"), [(None, 0), (0, 0), (120, 0), (121, 1), (-1, 1)])
def test_settings_lifespan(hours: int | None, count: int) -> None:
    assert len(problems_of_settings(WorkspaceSettings(lifespan_hours=hours))) == count


def test_settings_limit_of_sessions_is_at_least_one() -> None:
    assert problems_of_settings(WorkspaceSettings(running_sessions_max=0))


def test_template_may_carry_its_tag() -> None:
    tag = TEMPLATES["jupyterlab"].tag
    assert parse_template("jupyterlab", TEMPLATES) == "jupyterlab"
    assert parse_template(f"jupyterlab:{tag}", TEMPLATES) == "jupyterlab"


def test_unknown_fields_are_refused_and_named() -> None:
    body = b'{"name": "a", "computeEnvId": "local", "nonsense": 1}'
    with pytest.raises(msgspec.ValidationError, match="nonsense"):
        msgspec.json.decode(body, type=CreateStudio)


def test_bodies_are_camel_case() -> None:
    body = (
        b'{"name": "a", "computeEnvId": "local", "isPrivate": true, '
        b'"configuration": {"lifespanHours": 1, "mountDataV2": [{"dataLinkId": "x", "path": "y"}]}}'
    )
    request = msgspec.json.decode(body, type=CreateStudio)
    assert request.configuration.mount_data_v2 == (DataMount(data_link_id="x", path="y"),)
    assert (request.is_private, request.configuration.lifespan_hours) == (True, 1)
