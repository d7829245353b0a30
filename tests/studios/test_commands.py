"""Every command against a fake control plane: what it sends, prints, and how it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.fake_api import FAILING

if TYPE_CHECKING:
    from tests.studios.conftest import Studios
    from tests.support.fake_api import FakeApi
    from tests.support.hurried_clock import HurriedClock


async def test_list_shows_each_studio_on_a_line(studios: Studios, api: FakeApi) -> None:
    api.have("0a1b2c3d", "genome", "running")
    api.have("11111111", "notes", "buildFailed")
    result = await studios("list")
    assert result.exit_code == 0
    header, *rows = result.stdout.splitlines()
    assert header.split() == ["ID", "NAME", "STATUS", "TOOL", "OWNER", "URL"]
    assert rows[0].split()[:5] == ["0a1b2c3d", "genome", "running", "JupyterLab", "admin"]
    assert "build-failed" in rows[1]
    assert [line.rstrip() for line in rows] == rows


async def test_list_fetches_every_page(studios: Studios, api: FakeApi) -> None:
    for number in range(250):
        api.have(f"{number:08x}", f"studio-{number}")
    result = await studios("list", "-o", "json")
    page = json.loads(result.stdout)
    assert page["totalSize"] == len(page["studios"]) == 250
    assert len({studio["sessionId"] for studio in page["studios"]}) == 250


async def test_list_of_nothing_names_the_next_step(studios: Studios) -> None:
    result = await studios("list")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "studios add" in result.stderr


async def test_view_finds_by_name_and_by_id(studios: Studios, api: FakeApi) -> None:
    api.have("0a1b2c3d", "genome", "running")
    for who in ("genome", "0a1b2c3d"):
        result = await studios("view", who)
        assert result.exit_code == 0
        assert "0a1b2c3d" in result.stdout
        assert "GREETING" in result.stdout


async def test_view_says_how_full_the_volume_is_and_each_warning_once(
    studios: Studios, api: FakeApi
) -> None:
    genome = api.have("0a1b2c3d", "genome", "running")
    gigabyte = 1024**3
    genome["volume"] = {"sizeBytes": 2 * gigabyte, "freeBytes": gigabyte // 2, "message": ""}
    genome["volume"]["limitBytes"] = 1500 * gigabyte
    genome["warnings"] = ["The kernel ended python."]
    genome["progress"] = [
        {"status": "succeeded", "message": "Running", "warnings": genome["warnings"]}
    ]
    genome["health"] = {"ok": True, "message": "root: limits were reached"}
    shown = (await studios("view", "genome")).stdout
    assert "1.5 GB of 2 GB used, grows to 1500 GB" in shown
    assert shown.count("The kernel ended python.") == 1
    assert "root: limits were reached" in shown
    assert "Unhealthy" not in shown
    genome["volume"] |= {"full": True, "limitBytes": 2 * gigabyte, "message": "the volume is full"}
    shown = (await studios("view", "genome")).stdout
    assert "1.5 GB of 2 GB used: full" in shown
    assert "The volume is full." in shown


async def test_a_name_may_look_like_an_id(studios: Studios, api: FakeApi) -> None:
    api.have("11111111", "deadbeef")
    result = await studios("view", "deadbeef", "-o", "json")
    assert json.loads(result.stdout)["sessionId"] == "11111111"


async def test_json_has_the_names_of_the_api(studios: Studios, api: FakeApi) -> None:
    api.have("0a1b2c3d", "genome", "running")
    shown = json.loads((await studios("view", "genome", "-o", "json")).stdout)
    assert shown["statusInfo"]["status"] == "running"
    assert shown["studioUrl"].startswith("http://a0a1b2c3d.studio.localhost:")
    assert shown["computeEnv"]["id"] == "local"
    assert shown["dateCreated"] == "2030-01-01T00:00:00Z"


async def test_an_ambiguous_name_lists_the_ids(studios: Studios, api: FakeApi) -> None:
    api.have("0a1b2c3d", "genome")
    api.have("11111111", "genome")
    result = await studios("start", "genome")
    assert result.exit_code == 2
    assert "0a1b2c3d, 11111111" in result.stderr
    assert not [path for _, path in api.seen if path.endswith("/start")]


async def test_an_unknown_name_has_its_own_exit_code(studios: Studios) -> None:
    result = await studios("view", "nothing")
    assert result.exit_code == 3
    assert "studios list" in result.stderr


async def test_add_sends_what_was_asked_for(studios: Studios, api: FakeApi) -> None:
    result = await studios(
        *("add", "genome", "--template", "jupyterlab", "--cpu", "4", "--memory", "2048"),
        *("--lifespan", "0", "--env", "A=b=c", "--private", "--description", "mine"),
    )
    assert result.exit_code == 0, result.stderr
    assert api.bodies == [
        {
            "name": "genome",
            "computeEnvId": "local",
            "dataStudioToolUrl": "jupyterlab:4.6.1-0.1.0",
            "description": "mine",
            "isPrivate": True,
            "configuration": {
                "cpu": 4,
                "memory": 2048,
                "lifespanHours": 0,
                "environment": {"A": "b=c"},
            },
        }
    ]


async def test_add_and_wait_shows_each_phase_once_with_its_time(
    studios: Studios, api: FakeApi, clock: HurriedClock
) -> None:
    result = await studios(
        "add", "genome", "--template", "JupyterLab", "--auto-start", "--wait", "running"
    )
    assert result.exit_code == 0, result.stderr
    lines = result.stderr.splitlines()
    assert [line.rsplit("  ", 1)[0] for line in lines] == [
        "✓ Start JupyterLab",
        "✓ Wait until it answers",
    ]
    assert all(line.endswith(" s") for line in lines)
    assert "running: http://a" in result.stdout
    assert clock.elapsed > 0


async def test_waiting_for_a_new_studio_to_run_starts_it(studios: Studios, api: FakeApi) -> None:
    result = await studios("add", "x", "--template", "jupyterlab", "--wait", "running")
    assert result.exit_code == 0
    result = await studios("add", "y", "--template", "jupyterlab", "--wait", "stopped")
    assert result.exit_code == 0
    assert [path for method, path in api.seen if method == "POST"] == [
        "/api/studios?autoStart=true",
        "/api/studios",
    ]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "named"),
    [
        (("--template", "nope"), 3, "jupyterlab"),
        (("--template", "jupyterlab", "--compute-env", "moon"), 3, "local"),
        (("--template", "jupyterlab", "--env", "1A=b"), 2, "NAME=VALUE"),
        (("--template", "jupyterlab", "--env", "A"), 2, "NAME=VALUE"),
        ((), 2, "--template"),
    ],
)
async def test_add_says_what_could_have_been_meant(
    studios: Studios, arguments: tuple[str, ...], exit_code: int, named: str
) -> None:
    result = await studios("add", "genome", *arguments)
    assert result.exit_code == exit_code
    assert named in result.stderr


async def test_add_of_a_taken_name_tells_the_apis_sentence(studios: Studios, api: FakeApi) -> None:
    api.have("0a1b2c3d", "genome")
    result = await studios("add", "genome", "--template", "jupyterlab")
    assert result.exit_code == 1
    assert result.stderr == "Error: A Studio 'genome' exists: choose another name.\n"


async def test_start_without_wait_returns_at_once(studios: Studios, api: FakeApi) -> None:
    api.have("0a1b2c3d", "genome")
    result = await studios("start", "genome", "-o", "json")
    assert json.loads(result.stdout)["statusInfo"]["status"] == "starting"


async def test_stop_and_wait(studios: Studios, api: FakeApi) -> None:
    api.have("0a1b2c3d", "genome", "running")
    result = await studios("stop", "genome", "--wait", "stopped")
    assert result.exit_code == 0
    assert result.stdout == "genome (0a1b2c3d) is stopped\n"


async def test_waiting_ends_when_the_start_fails(studios: Studios, api: FakeApi) -> None:
    api.have("0a1b2c3d", "genome")
    api.start_course = FAILING
    result = await studios("start", "genome", "--wait", "running")
    assert result.exit_code == 1
    assert "✗ Start JupyterLab" in result.stderr
    assert "the tool ended with exit code 1" in result.stderr
    assert "studios logs 0a1b2c3d" in result.stderr


async def test_waiting_gives_up_in_time_with_its_own_exit_code(
    studios: Studios, api: FakeApi, clock: HurriedClock
) -> None:
    api.have("11111111", "slow")
    api.start_course = [("starting", [("in-progress", "Start JupyterLab")])]
    result = await studios("start", "slow", "--wait", "running", "--timeout", "20")
    assert result.exit_code == 6
    assert "still starting after 20 s" in result.stderr
    assert 20 <= clock.elapsed < 21


async def test_extend_asks_for_more_time(studios: Studios, api: FakeApi) -> None:
    api.have("0a1b2c3d", "genome", "running")
    api.studios["0a1b2c3d"]["deadline"] = "2030-01-02T08:00:00Z"
    result = await studios("extend", "genome")
    assert result.exit_code == 0
    assert result.stdout == "genome (0a1b2c3d) runs until 2030-01-02 08:00:00 UTC\n"
    api.studios["0a1b2c3d"]["deadline"] = None
    assert "without end" in (await studios("extend", "genome")).stdout
    assert ("POST", "/api/studios/0a1b2c3d/lifespan") in api.seen


async def test_delete_asks_first(studios: Studios, api: FakeApi) -> None:
    api.have("0a1b2c3d", "genome")
    result = await studios("delete", "genome", typed="n\n")
    assert result.exit_code == 1
    assert "0a1b2c3d" in api.studios
    result = await studios("delete", "genome", typed="y\n")
    assert result.exit_code == 0
    assert api.studios == {}


async def test_delete_where_nobody_can_be_asked_names_the_option(
    studios: Studios, api: FakeApi
) -> None:
    api.have("0a1b2c3d", "genome")
    result = await studios("delete", "genome", typed="")
    assert result.exit_code == 1
    assert "--yes" in result.stderr
    assert "0a1b2c3d" in api.studios


@pytest.mark.parametrize(
    "arguments",
    [
        ("start", "genome", "--wait", "stopped"),
        ("stop", "genome", "--wait", "running"),
        ("add", "x", "--template", "jupyterlab", "--lifespan", "200"),
        ("logs", "genome", "--tail", "10001"),
    ],
)
async def test_values_that_cannot_be_meant_are_refused_before_anything_is_sent(
    studios: Studios, api: FakeApi, arguments: tuple[str, ...]
) -> None:
    api.have("0a1b2c3d", "genome")
    result = await studios(*arguments)
    assert result.exit_code == 2
    assert arguments[-2] in result.stderr
    assert api.seen == []


async def test_delete_with_yes_does_not_ask(studios: Studios, api: FakeApi) -> None:
    api.have("0a1b2c3d", "genome")
    assert (await studios("delete", "0a1b2c3d", "--yes")).exit_code == 0
    assert api.studios == {}


async def test_templates_are_listed(studios: Studios) -> None:
    result = await studios("templates")
    assert result.stdout.splitlines()[1].split()[:2] == ["jupyterlab", "JupyterLab"]
    shown = json.loads((await studios("templates", "-o", "json")).stdout)
    assert shown["templates"][0]["repository"] == "jupyterlab:4.6.1-0.1.0"


async def test_logs_are_passed_through_byte_by_byte(studios: Studios, api: FakeApi) -> None:
    api.have("0a1b2c3d", "genome", "running")
    api.log = b"caf\xe9 \x1b[31mred\x1b[0m\n"
    result = await studios("logs", "genome", "--tail", "7", "-f")
    assert result.exit_code == 0, result.stderr
    assert result.stdout_bytes == api.log
    assert ("GET", "/.studio/log?tail=7&follow=1") in api.seen


async def test_a_session_that_is_over_left_its_last_lines(studios: Studios, api: FakeApi) -> None:
    studio = api.have("0a1b2c3d", "genome", "errored")
    result = await studios("logs", "genome")
    assert result.exit_code == 1
    assert "studios start 0a1b2c3d" in result.stderr
    studio["tool"] = {"phase": "failed", "lastLines": ["one", "two [b]three"]}
    result = await studios("logs", "genome")
    assert result.exit_code == 0
    assert result.stdout == "one\ntwo [b]three\n"


async def test_a_log_that_was_kept_is_shown_whole(studios: Studios, api: FakeApi) -> None:
    api.have("0a1b2c3d", "genome", "stopped")
    api.kept_log = b"caf\xe9\n"
    result = await studios("logs", "genome", "--tail", "7")
    assert result.exit_code == 0, result.stderr
    assert result.stdout_bytes == api.kept_log
    assert ("GET", "/api/studios/0a1b2c3d/logs?tail=7") in api.seen


async def test_users_are_added_changed_and_removed(studios: Studios, api: FakeApi) -> None:
    result = await studios("users", "add", "maria", "--role", "launch")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{api.url}/login?token=once-2\n"
    assert (await studios("users", "role", "maria", "--role", "view")).exit_code == 0
    shown = json.loads((await studios("users", "list", "-o", "json")).stdout)
    assert shown["users"][1] == {"id": 2, "userName": "maria", "role": "view", "email": None}
    assert "maria" in (await studios("users", "list")).stdout
    assert (await studios("users", "remove", "maria")).exit_code == 0
    assert [user["userName"] for user in api.users] == ["admin"]


async def test_unknown_users_and_roles_are_refused(studios: Studios) -> None:
    assert (await studios("users", "remove", "nobody")).exit_code == 3
    result = await studios("users", "add", "maria", "--role", "king")
    assert result.exit_code == 2
    assert "maintain" in result.stderr


async def test_escape_sequences_of_others_do_not_reach_the_terminal(
    studios: Studios, api: FakeApi
) -> None:
    api.have("0a1b2c3d", "\x1b]0;owned\x07")
    assert "\x1b" not in (await studios("list")).stdout
