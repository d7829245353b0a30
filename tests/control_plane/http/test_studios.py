"""Studios over HTTP: every call of the table that members make with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.support.plane import Plane, open_test_plane

if TYPE_CHECKING:
    from pathlib import Path

NEW = {"name": "demo", "computeEnvId": "local", "dataStudioToolUrl": "jupyterlab"}


async def test_a_new_studio_has_the_public_shape(plane: Plane) -> None:
    answer = await plane.admin.post("/api/studios", {**NEW, "description": "first"})
    assert answer.status == 200
    studio = answer.body["studio"]
    assert studio["name"] == "demo"
    assert studio["description"] == "first"
    assert studio["statusInfo"]["status"] == "stopped"
    assert studio["studioUrl"] == f"http://a{studio['sessionId']}.studio.localhost:9191/"
    assert studio["user"]["userName"] == "admin"
    assert studio["computeEnv"] == {
        "id": "local", "name": studio["computeEnv"]["name"], "platform": "local", "region": "",
        "workDir": None, "environment": None,
    }  # fmt: skip
    assert studio["template"]["tool"] == "JupyterLab"
    assert studio["configuration"]["cpu"] == 2
    assert studio["effectiveLifespanHours"] == 8
    assert set(studio["allowedActions"]) == {
        "edit", "delete", "label", "start", "stop", "extend", "connect",
    }  # fmt: skip
    public = {
        "sessionId", "workspaceId", "name", "description", "studioUrl", "user", "computeEnv",
        "template", "configuration", "statusInfo", "progress", "activeConnections",
        "mountedDataLinks", "parentCheckpoint", "effectiveLifespanHours", "isPrivate",
        "allowedUsers", "labels", "waveBuildUrl", "baseImage", "customImage", "remoteConfig",
        "dateCreated", "lastUpdated", "lastStarted", "checkpointIntervalSeconds",
    }  # fmt: skip
    assert public <= studio.keys()


async def test_auto_start_starts(plane: Plane) -> None:
    answer = await plane.admin.post("/api/studios?autoStart=true", NEW)
    assert answer.body["studio"]["statusInfo"]["status"] == "starting"
    assert answer.body["studio"]["progress"][0]["status"] == "in-progress"


async def test_list_searches_and_pages(plane: Plane) -> None:
    for name in ("alpha", "beta", "alphabet"):
        await plane.add(name)
    found = (await plane.admin.get("/api/studios?search=alpha")).body
    assert {studio["name"] for studio in found["studios"]} == {"alpha", "alphabet"}
    assert found["totalSize"] == 2
    page = (await plane.admin.get("/api/studios?max=1&offset=1")).body
    assert len(page["studios"]) == 1
    assert page["totalSize"] == 3


async def test_start_stop_and_what_they_answer(plane: Plane) -> None:
    session_id = await plane.add()
    answer = await plane.admin.put(f"/api/studios/{session_id}/start")
    assert answer.body["jobSubmitted"] is True
    assert answer.body["sessionId"] == session_id
    assert answer.body["statusInfo"]["status"] == "starting"
    answer = await plane.admin.put(f"/api/studios/{session_id}/stop")
    assert answer.status == 200
    assert answer.body["statusInfo"]["status"] in {"stopping", "stopped"}


async def test_extending_moves_the_deadline(plane: Plane) -> None:
    session_id = await plane.add()
    await plane.run(session_id)
    before = (await plane.admin.get(f"/api/studios/{session_id}")).body["deadline"]
    await plane.clock.advance(600)
    after = (await plane.admin.post(f"/api/studios/{session_id}/lifespan")).body["deadline"]
    assert after > before


async def test_edit_and_delete_of_a_stopped_studio(plane: Plane) -> None:
    session_id = await plane.add()
    answer = await plane.admin.put(f"/api/studios/{session_id}", {"name": "other"})
    assert answer.body["name"] == "other"
    assert (await plane.admin.delete(f"/api/studios/{session_id}")).status == 204
    assert (await plane.admin.get(f"/api/studios/{session_id}")).status == 404


async def test_a_running_studio_is_not_deleted(plane: Plane) -> None:
    session_id = await plane.add()
    await plane.run(session_id)
    answer = await plane.admin.delete(f"/api/studios/{session_id}")
    assert answer.status == 409
    assert answer.message.endswith(".")
    assert (await plane.admin.get(f"/api/studios/{session_id}")).status == 200


async def test_templates_can_be_given_back_to_create(plane: Plane) -> None:
    templates = (await plane.admin.get("/api/studios/templates")).body["templates"]
    assert [template["tool"] for template in templates] == ["JupyterLab"]
    assert templates[0]["status"] == "recommended"
    body = {**NEW, "dataStudioToolUrl": templates[0]["repository"]}
    assert (await plane.admin.post("/api/studios", body)).status == 200


async def test_names_are_validated(plane: Plane) -> None:
    assert (await plane.admin.get("/api/studios/validate?name=fresh")).status == 204
    await plane.add("taken")
    assert (await plane.admin.get("/api/studios/validate?name=taken")).status == 409
    assert (await plane.admin.get("/api/studios/validate?name=")).status == 400


async def test_labels_and_compute_environments_are_listed(plane: Plane) -> None:
    assert (await plane.admin.get("/api/labels")).body == {"labels": [], "totalSize": 0}
    (env,) = (await plane.admin.get("/api/compute-envs")).body["computeEnvs"]
    assert env["id"] == "local"


SETTINGS = "/api/orgs/1/workspaces/1/settings/studios"


async def test_workspace_settings_lock_the_lifespan(plane: Plane) -> None:
    settings = (await plane.admin.get(SETTINGS)).body
    assert settings["lifespanHours"] is None
    answer = await plane.admin.put(SETTINGS, {"lifespanHours": 2})
    assert answer.body["lifespanHours"] == 2
    answer = await plane.admin.post("/api/studios", {**NEW, "configuration": {"lifespanHours": 5}})
    assert answer.status == 400
    assert "2 hours" in answer.message
    assert (await plane.admin.get(SETTINGS.replace("/workspaces/1", "/workspaces/7"))).status == 404


async def test_studio_tokens_are_for_one_session_and_scope(plane: Plane) -> None:
    session_id = await plane.add()
    answer = await plane.admin.post(f"/api/studios/{session_id}/token", {"scope": "log"})
    assert answer.status == 200
    assert answer.body["url"] == f"http://a{session_id}.studio.localhost:9191/.studio/log"
    answer = await plane.admin.post(f"/api/studios/{session_id}/token", {"scope": "any"})
    assert answer.status == 400


# ── Roles ────────────────────────────────────────────────────────────────────

_LAUNCH_UP = {"owner", "admin", "maintain", "launch"}
_MAINTAIN_UP = {"owner", "admin", "maintain"}
_ALL = _LAUNCH_UP | {"connect", "view"}

CALLS: list[tuple[str, str, Any, set[str]]] = [
    ("GET", "/api/studios", None, _ALL),
    ("GET", "/api/studios/{id}", None, _ALL),
    ("POST", "/api/studios", {**NEW, "name": "another"}, _MAINTAIN_UP),
    ("PUT", "/api/studios/{id}", {"description": "new"}, _MAINTAIN_UP),
    ("DELETE", "/api/studios/{id}", None, _MAINTAIN_UP),
    ("PUT", "/api/studios/{id}/start", None, _LAUNCH_UP),
    ("PUT", "/api/studios/{id}/stop", None, _LAUNCH_UP),
    ("POST", "/api/studios/{id}/lifespan", None, _LAUNCH_UP),
    ("POST", "/api/studios/{id}/token", {"scope": "log"}, _ALL - {"view"}),
    ("POST", "/api/studios/{id}/token", {"scope": "health"}, _ALL),
    ("POST", "/api/studios/{id}/token", {"scope": "exec"}, _ALL - {"view"}),
    ("GET", SETTINGS, None, _ALL),
    ("PUT", SETTINGS, {}, {"owner", "admin"}),
    ("POST", "/api/users", {"name": "new", "role": "view"}, {"owner", "admin"}),
    ("GET", "/metrics", None, {"owner", "admin"}),
]


@pytest.mark.parametrize("role", ["owner", "admin", "maintain", "launch", "connect", "view"])
async def test_every_call_asks_the_role_table(plane: Plane, role: str) -> None:
    member = await plane.member(role)
    for method, path, body, allowed in CALLS:
        session_id = await plane.add(f"{method} {path}".replace("/", "-")[:70] + str(body)[-8:])
        answer = await member.call(method, path.replace("{id}", session_id), body)
        refused = answer.status == 403
        assert refused == (role not in allowed), (method, path, answer.status, answer.text)
        assert answer.status < 500


async def test_a_private_studio_is_its_owners(plane: Plane) -> None:
    session_id = await plane.add(isPrivate=True)
    admin = await plane.member("admin")
    answer = await admin.post(f"/api/studios/{session_id}/token", {"scope": "log"})
    assert answer.status == 403
    assert "ask admin" in answer.message  # the first owner's name
    assert (await admin.get(f"/api/studios/{session_id}")).body["allowedActions"] == [
        "delete", "label", "start", "stop", "extend",
    ]  # fmt: skip


async def test_what_may_hold_secrets_is_for_people_inside(plane: Plane) -> None:
    variables = {"environment": {"PASSWORD": "hunter2"}}
    session_id = await plane.add(isPrivate=True, configuration=variables)
    number = await plane.start(session_id)
    report = plane.report(session_id, run=number)
    said = msgspec.structs.replace(
        report,
        warnings=("hunter2",),
        tool=msgspec.structs.replace(report.tool, last_lines=("hunter2",)),
    )
    await plane.agent(session_id, number).put("/api/agent/v1/status", said)
    inside = await plane.admin.get(f"/api/studios/{session_id}")
    assert inside.body["configuration"]["environment"] == {"PASSWORD": "hunter2"}
    assert inside.body["tool"]["lastLines"] == inside.body["warnings"] == ["hunter2"]
    for role in ("admin", "view"):
        outsider = await plane.member(role)
        for path in (f"/api/studios/{session_id}", "/api/studios"):
            answer = await outsider.get(path)
            assert "PASSWORD" in answer.text
            assert "hunter2" not in answer.text


async def test_names_that_look_the_same_are_the_same(plane: Plane) -> None:
    await plane.add("caf\u00e9")
    body = {"name": "cafe\u0301", "computeEnvId": "local", "dataStudioToolUrl": "jupyterlab"}
    assert (await plane.admin.post("/api/studios", body)).status == 409
    for unseen in ("a\u200bb", "a\u202eb", "a\u200db"):
        assert (await plane.admin.post("/api/studios", {**body, "name": unseen})).status == 400
        user = {"name": unseen, "role": "view"}
        assert (await plane.admin.post("/api/users", user)).status == 400


async def test_nothing_that_is_kept_holds_characters_nobody_sees(plane: Plane) -> None:
    settings = "/api/orgs/1/workspaces/1/settings/studios"
    user = {"name": "eve", "role": "view", "email": "e\u0000@x"}
    for answer in (
        await plane.admin.post("/api/tokens", {"name": "a\u0000b"}),
        await plane.admin.post("/api/users", user),
        await plane.admin.put(settings, {"containerRepository": "x\u0000"}),
        await plane.admin.put(settings, {"nameStrategy": "x\n"}),
    ):
        assert (answer.status, "control character" in answer.message) == (400, True)


async def test_lists_of_people_and_labels_have_an_end(plane: Plane) -> None:
    session_id = await plane.add()
    for field in ("allowedUserIds", "labelIds"):
        answer = await plane.admin.put(f"/api/studios/{session_id}", {field: [1] * 1001})
        assert (answer.status, "too many" in answer.message) == (400, True)


async def test_a_log_is_read_after_the_sessions_end(folder: Path) -> None:
    class Engine:
        async def log(self, session_id: str, *, tail: int) -> str:
            return f"the last {tail} lines of {session_id}"

    async with open_test_plane(folder, engines={"local": Engine()}) as plane:
        session_id = await plane.add()
        answer = await plane.admin.get(f"/api/studios/{session_id}/logs?tail=7")
        assert (answer.status, answer.text) == (200, f"the last 7 lines of {session_id}")
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        viewer = await plane.member("view")
        assert (await viewer.get(f"/api/studios/{session_id}/logs")).status == 403


async def test_a_session_that_left_no_log_says_so(plane: Plane) -> None:
    answer = await plane.admin.get(f"/api/studios/{await plane.add()}/logs?tail=7")
    assert (answer.status, "left no log" in answer.message) == (404, True)
