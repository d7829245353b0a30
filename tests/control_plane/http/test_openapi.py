"""The document says what the server does, because both come from one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.plane import Plane


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*(references(one) for one in value.values()))
    if isinstance(value, list):
        return set().union(*(references(one) for one in value))
    return set()


async def test_every_public_call_is_documented(plane: Plane) -> None:
    document = (await plane.nobody.get("/api/openapi.json")).body
    calls = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert calls >= {
        "GET /api/studios",
        "POST /api/studios",
        "GET /api/studios/{sessionId}",
        "PUT /api/studios/{sessionId}",
        "DELETE /api/studios/{sessionId}",
        "PUT /api/studios/{sessionId}/start",
        "PUT /api/studios/{sessionId}/stop",
        "POST /api/studios/{sessionId}/lifespan",
        "GET /api/studios/templates",
        "GET /api/studios/validate",
        "GET /api/orgs/{orgId}/workspaces/{workspaceId}/settings/studios",
        "PUT /api/orgs/{orgId}/workspaces/{workspaceId}/settings/studios",
        "PUT /api/agent/v1/status",
        "GET /api/events",
    }
    defined = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= defined
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            assert operation["responses"]
    ids = [o["operationId"] for methods in document["paths"].values() for o in methods.values()]
    assert len(ids) == len(set(ids))


async def test_every_documented_call_asks_who_calls(plane: Plane) -> None:
    document = (await plane.nobody.get("/api/openapi.json")).body
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            answer = await plane.nobody.call(method.upper(), path.replace("{", "").replace("}", ""))
            is_open = not operation["security"]
            assert (answer.status == 401) == (not is_open), (method, path, answer.status)


async def test_field_names_of_the_document_are_those_of_the_answers(plane: Plane) -> None:
    session_id = await plane.add()
    document = (await plane.nobody.get("/api/openapi.json")).body
    studio = (await plane.admin.get(f"/api/studios/{session_id}")).body
    properties = document["components"]["schemas"]["StudioShape"]["properties"]
    assert properties.keys() == studio.keys()
