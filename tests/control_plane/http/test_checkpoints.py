"""Checkpoints over HTTP: shapes, codes and sentences, and who may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from checkpoints.format import names
from checkpoints.storage.opening import REPOSITORY_FOLDER
from common.messages import CheckpointPhase, CheckpointStatus, RunPhase
from control_plane.model import JobStanding, Status
from control_plane.schema import studios
from tests.control_plane.http.followed import event, line, stream

if TYPE_CHECKING:
    from tests.support.plane import Answer, Plane


async def say(
    plane: Plane, session_id: str, generation: int, *, run: int = 1, **fields: Any
) -> None:
    """Have a run's agent report what it has saved."""
    checkpoint = await shown(plane, session_id)
    status = CheckpointStatus(
        id=checkpoint["path"].rpartition("/")[2],
        phase=fields.pop("phase", CheckpointPhase.INTERIM),
        generation=generation,
        committed_at=plane.clock.now() if generation else None,
        entries=12,
        file_bytes=3000,
        stored_bytes=2000,
        **fields,
    )
    report = plane.report(
        session_id, run=run, sequence=int(plane.clock.monotonic() * 1000), checkpoint=status
    )
    answer = await plane.agent(session_id, run).put("/api/agent/v1/status", report)
    assert answer.status == 200, answer.text


async def shown(plane: Plane, session_id: str) -> dict[str, Any]:
    """What the Studio shows as its checkpoint."""
    found: dict[str, Any] = (await plane.admin.get(f"/api/studios/{session_id}")).body["checkpoint"]
    return found


async def listed(plane: Plane, session_id: str) -> list[dict[str, Any]]:
    answer = await plane.admin.get(f"/api/studios/{session_id}/checkpoints")
    assert answer.status == 200, answer.text
    found: list[dict[str, Any]] = answer.body["checkpoints"]
    assert answer.body["totalSize"] == len(found)
    return found


async def running(plane: Plane, name: str = "demo", **fields: Any) -> str:
    session_id = await plane.add(name, **fields)
    await plane.run(session_id)
    await plane.clock.advance(1)
    return session_id


async def ended(plane: Plane, session_id: str) -> None:
    """Stop it, and do what agent and reconciler would."""
    assert (await plane.admin.put(f"/api/studios/{session_id}/stop")).status == 200
    run = (await plane.admin.get(f"/api/studios/{session_id}")).body["runNumber"]
    over = plane.report(
        session_id,
        run=run,
        sequence=int(plane.clock.monotonic() * 1000) + 1,
        phase=RunPhase.STOPPED,
    )
    await plane.agent(session_id, run).put("/api/agent/v1/status", over)
    async with plane.plane.parts.database.begin() as connection:
        gone = {"status": Status.STOPPED.value, "job": JobStanding.NONE.value}
        await connection.execute(
            sa.update(studios).where(studios.c.session_id == session_id).values(gone)
        )


def sentence(answer: Answer, status: int) -> str:
    assert answer.status == status, answer.text
    assert answer.message.endswith(".")
    return answer.message


async def test_a_checkpoint_has_the_public_shape(plane: Plane) -> None:
    session_id = await running(plane, "my Studio")
    await say(plane, session_id, 2, image="an image", message="The disk is slow.")
    (one,) = await listed(plane, session_id)
    work = (await plane.admin.get("/api/compute-envs")).body["computeEnvs"][0]["workDir"]
    folder = f"{work}/{REPOSITORY_FOLDER}/{names.RECORDS}"
    assert one["path"].startswith(folder)
    assert len(one["path"]) == len(folder) + 16
    assert one["name"].startswith("my_Studio_")
    assert one["author"] == {"id": 1, "userName": "admin", "email": None, "avatar": None}
    assert {key: one[key] for key in ("status", "generation", "entries", "size", "storedSize")} == {
        "status": "interim", "generation": 2, "entries": 12, "size": 3000, "storedSize": 2000,
    }  # fmt: skip
    assert (one["image"], one["message"], one["saving"]) == ("an image", "The disk is slow.", False)
    assert (one["sessionId"], one["runNumber"]) == (session_id, 1)
    assert one["parentCheckpointId"] is None
    assert one["dateSaved"] > one["dateCreated"]
    answer = await plane.admin.get(f"/api/studios/{session_id}/checkpoints/{one['id']}")
    assert answer.body == one == await shown(plane, session_id)


async def test_the_age_that_is_shown_is_of_the_newest_report(plane: Plane) -> None:
    session_id = await running(plane)
    assert (await shown(plane, session_id))["dateSaved"] is None
    await say(plane, session_id, 1)
    before = (await shown(plane, session_id))["dateSaved"]
    await plane.clock.advance(10)  # not worth writing down, but what a power cut would cost
    await say(plane, session_id, 1)
    assert (await shown(plane, session_id))["dateSaved"] > before


async def test_the_greatest_age_is_a_metric(plane: Plane) -> None:
    async def age() -> float:
        found = (await plane.admin.get("/metrics")).text.splitlines()
        (one,) = [text for text in found if text.startswith("studios_checkpoint_age_seconds_max ")]
        return float(one.rpartition(" ")[2])

    assert await age() == 0
    old, new = await running(plane), await running(plane, "other")
    await say(plane, old, 1)
    await plane.clock.advance(100)
    await say(plane, new, 1)
    assert await age() == 100
    await ended(plane, old)
    assert await age() == 0


async def test_saving_now_is_accepted_and_seen_until_it_is_safe(plane: Plane) -> None:
    session_id = await plane.add()
    path = f"/api/studios/{session_id}/checkpoints"
    assert "start it first" in sentence(await plane.admin.post(path), 409)
    await plane.run(session_id)
    await plane.clock.advance(1)
    answer = await plane.admin.post(path)
    assert (answer.status, answer.body["saving"]) == (202, True)
    assert (await shown(plane, session_id))["saving"] is True
    desired = await plane.agent(session_id).get("/api/agent/v1/desired")
    asked = desired.body["checkpointRequestedAt"]
    assert asked is not None
    now = plane.clock.now()
    await plane.clock.advance(1)
    await say(plane, session_id, 1, answered_request_at=now)
    assert (await shown(plane, session_id))["saving"] is False


async def test_renaming_answers_with_the_name_as_it_is_kept(plane: Plane) -> None:
    session_id = await running(plane)
    path = f"/api/studios/{session_id}/checkpoints/{(await shown(plane, session_id))['id']}"
    answer = await plane.admin.put(path, {"name": "before the upgrade"})
    assert (answer.status, answer.body["name"]) == (200, "before_the_upgrade")
    sentence(await plane.admin.put(path, {"name": " "}), 400)
    sentence(await plane.admin.put(path, {"name": "x" * 81}), 400)
    sentence(await plane.admin.put(path, {}), 400)
    await say(plane, session_id, 1)
    await ended(plane, session_id)
    await plane.start(session_id)
    second = f"/api/studios/{session_id}/checkpoints/{(await shown(plane, session_id))['id']}"
    assert "choose another name" in sentence(
        await plane.admin.put(second, {"name": "before the upgrade"}), 409
    )


async def test_what_is_needed_is_not_deleted(plane: Plane) -> None:
    session_id = await running(plane)
    path = f"/api/studios/{session_id}/checkpoints/{(await shown(plane, session_id))['id']}"
    assert "stop the Studio first" in sentence(await plane.admin.delete(path), 409)
    await say(plane, session_id, 1)
    await ended(plane, session_id)
    assert "next session begins" in sentence(await plane.admin.delete(path), 409)
    await plane.run(session_id)
    await plane.clock.advance(1)
    await say(plane, session_id, 1, run=2)
    assert "stop that Studio first" in sentence(await plane.admin.delete(path), 409)
    await ended(plane, session_id)
    assert (await plane.admin.delete(path)).status == 204
    sentence(await plane.admin.get(path), 404)
    assert [one["runNumber"] for one in await listed(plane, session_id)] == [2]


async def test_a_studio_is_added_from_a_checkpoint(plane: Plane) -> None:
    session_id = await running(plane)
    one = await shown(plane, session_id)
    new = {"name": "new", "computeEnvId": "local", "initialCheckpointId": one["id"]}
    assert "stop that Studio" in sentence(await plane.admin.post("/api/studios", new), 409)
    await say(plane, session_id, 1)
    await ended(plane, session_id)
    answer = await plane.admin.post("/api/studios?autoStart=true", new)
    assert answer.status == 200, answer.text
    studio = answer.body["studio"]
    assert studio["parentCheckpoint"] == {
        "checkpointId": one["id"], "checkpointName": one["name"],
        "sessionId": session_id, "studioName": "demo",
    }  # fmt: skip
    assert studio["checkpoint"]["parentCheckpointId"] == one["id"]
    assert studio["template"]["name"] == "jupyterlab"
    for wrong in (0, 10**6, 2**40, 10**30):
        unknown = {**new, "name": "other", "initialCheckpointId": wrong}
        assert (await plane.admin.post("/api/studios", unknown)).status in {400, 404}


WRONG = ("max=51", "max=0", "offset=-1", "search=status:done", "search=before:soon")


@pytest.mark.parametrize("query", [*WRONG, f"search={'x' * 201}"])
async def test_wrong_questions_get_a_sentence(plane: Plane, query: str) -> None:
    session_id = await plane.add()
    sentence(await plane.admin.get(f"/api/studios/{session_id}/checkpoints?{query}"), 400)


async def test_searches_find_by_state(plane: Plane) -> None:
    session_id = await running(plane)
    path = f"/api/studios/{session_id}/checkpoints?search="
    assert (await plane.admin.get(f"{path}status:empty")).body["totalSize"] == 1
    assert (await plane.admin.get(f"{path}status:interim")).body["totalSize"] == 0


async def test_there_is_nothing_at_a_wrong_number(plane: Plane) -> None:
    session_id = await plane.add()
    for number in ("0", "1", "x", str(2**31), "9" * 40):
        path = f"/api/studios/{session_id}/checkpoints/{number}"
        for answer in (
            await plane.admin.get(path),
            await plane.admin.put(path, {"name": "x"}),
            await plane.admin.delete(path),
        ):
            sentence(answer, 404)
    sentence(await plane.admin.get("/api/studios/ffffffff/checkpoints"), 404)
    sentence(await plane.admin.post("/api/studios/ffffffff/checkpoints"), 404)


_LAUNCH_UP = {"owner", "admin", "maintain", "launch"}
_MAINTAIN_UP = {"owner", "admin", "maintain"}
_ALL = _LAUNCH_UP | {"connect", "view"}

CALLS: list[tuple[str, str, Any, set[str]]] = [
    ("GET", "", None, _ALL),
    ("POST", "", None, _LAUNCH_UP),
    ("GET", "/{id}", None, _ALL),
    ("PUT", "/{id}", {"name": "new"}, _MAINTAIN_UP),
    ("DELETE", "/{id}", None, _MAINTAIN_UP),
]


@pytest.mark.parametrize("role", ["owner", "admin", "maintain", "launch", "connect", "view"])
async def test_every_call_asks_the_role_table(plane: Plane, role: str) -> None:
    member = await plane.member(role)
    session_id = await running(plane)
    number = (await shown(plane, session_id))["id"]
    for method, path, body, allowed in CALLS:
        whole = f"/api/studios/{session_id}/checkpoints{path.replace('{id}', str(number))}"
        answer = await member.call(method, whole, body)
        assert (answer.status == 403) == (role not in allowed), (method, path, answer.text)
        assert answer.status < 500


async def test_messages_are_for_people_inside(plane: Plane) -> None:
    session_id = await running(plane, isPrivate=True)
    await say(plane, session_id, 1, message="hunter2 can't be read")
    outsider = await plane.member("admin")
    for path in ("/api/studios", f"/api/studios/{session_id}"):
        assert "hunter2" not in (await outsider.get(path)).text
        assert "hunter2" not in (await outsider.get(f"/api/studios/{session_id}/checkpoints")).text
        assert "hunter2" in (await plane.admin.get(path)).text


async def test_events_tell_when_saving_begins_and_when_it_is_safe(plane: Plane) -> None:
    session_id = await running(plane)
    path = f"/api/studios/{session_id}/checkpoints"
    async with stream(plane.admin, "/api/events") as content:

        async def told() -> dict[str, Any]:
            kind, studio = await event(content)
            assert (kind, studio["sessionId"]) == ("studio", session_id)
            found: dict[str, Any] = studio["checkpoint"]
            return found

        await line(content)
        await plane.admin.post(path)
        assert (await told())["saving"] is True
        now = plane.clock.now()
        await plane.clock.advance(1)
        await say(plane, session_id, 1, answered_request_at=now)
        one = await told()
        assert (one["saving"], one["status"]) == (False, "interim")
        await plane.clock.advance(1)
        await say(plane, session_id, 1, answered_request_at=now, in_progress=True)
        assert (await told())["saving"] is True
        await plane.admin.put(f"{path}/{one['id']}", {"name": "mine"})
        assert (await told())["name"] == "mine"


async def test_the_document_has_the_fields_of_the_answers(plane: Plane) -> None:
    session_id = await running(plane)
    document = (await plane.nobody.get("/api/openapi.json")).body
    properties = document["components"]["schemas"]["CheckpointShape"]["properties"]
    assert properties.keys() == (await shown(plane, session_id)).keys()
    calls = document["paths"]["/api/studios/{sessionId}/checkpoints"]
    assert "202" in calls["post"]["responses"]
