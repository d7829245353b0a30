"""Random JSON to every route: anything but a 5xx, and always a sentence."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.support.plane import Plane, Somebody, open_test_plane

if TYPE_CHECKING:
    from collections.abc import Iterator


WORDS = st.sampled_from(
    [
        "demo", "local", "jupyterlab", "", " ", "admin", "owner", "log", "\x00", "../..",
        "1234abcd", "'; DROP TABLE studios; --", "🧬", "a" * 300, "{}", "%s", "null", "-1",
        "0", "9" * 40,
    ]
)  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**40, 0, -1]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    WORDS,
)


def of_schema(schema: dict[str, Any], components: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that nearly fit: right names, values sometimes of the right type."""
    if "$ref" in schema:
        return of_schema(components[schema["$ref"].rpartition("/")[2]], components)
    options: list[st.SearchStrategy[Any]] = [SCALARS]
    if "anyOf" in schema:
        options += [of_schema(one, components) for one in schema["anyOf"]]
    if "enum" in schema:
        options += [st.sampled_from(schema["enum"])] * 3
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "array" in kinds:
        items = schema.get("items")
        inner = of_schema(items, components) if isinstance(items, dict) else SCALARS
        options.append(st.lists(inner, max_size=3))
    if "object" in kinds:
        options += [_objects(schema, components)] * 3
    if "string" in kinds:
        options += [WORDS] * 3
    if "integer" in kinds:
        options += [st.integers(min_value=-1, max_value=5)] * 3
    return st.one_of(options)


def _objects(schema: dict[str, Any], components: dict[str, Any]) -> st.SearchStrategy[Any]:
    properties = schema.get("properties")
    if not properties:
        return st.dictionaries(st.text(max_size=8), SCALARS, max_size=3)
    known = {name: of_schema(one, components) for name, one in properties.items()}
    required = {name: known[name] for name in schema.get("required", [])}
    optional = {name: one for name, one in known.items() if name not in required}
    return st.fixed_dictionaries(required, optional={**optional, "unknown": SCALARS})


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, st.SearchStrategy[Any]]]:
    components = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if "*/*" in str(operation["responses"]) and path != "/metrics":
                continue  # streams are tested by themselves
            body: st.SearchStrategy[Any] = st.just(None)
            if "requestBody" in operation:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                body = st.one_of(of_schema(schema, components), SCALARS)
            yield method.upper(), path, body


def caller(plane: Plane, path: str, session_id: str) -> Somebody:
    if path.startswith("/api/edge/"):
        return plane.edge
    return plane.agent(session_id) if path.startswith("/api/agent/") else plane.admin


async def fire(requests: list[tuple[str, str, Any, str, str]], folder: Path) -> None:
    async with open_test_plane(folder) as plane:
        session_id = await plane.add()
        await plane.run(session_id)  # it has a checkpoint now
        for method, path, body, word, query in requests:
            target = path.replace("{sessionId}", session_id if len(word) % 2 else quote(word, ""))
            for name in ("orgId", "workspaceId", "userId", "tokenId", "checkpointId"):
                target = target.replace(f"{{{name}}}", quote(word, "") or "1")
            names = ("max", "offset", "search", "name", "autoStart", "after", "workspaceId")
            target += "?" + "&".join(f"{name}={quote(query, '')}" for name in names)
            raw = json.dumps(body).encode()
            answer = await caller(plane, path, session_id).call(method, target, raw=raw)
            assert answer.status < 500, (method, target, body, answer.text)
            if answer.status >= 400:
                assert answer.message.endswith("."), (method, target, body, answer.text)
            still_in = await plane.admin.get("/api/user-info")
            if still_in.status == 401:  # it found and deleted its own token
                token = (await plane.plane.login.admin_token()).reveal()
                plane.admin.headers["Authorization"] = f"Bearer {token}"


def test_no_route_answers_anything_with_a_5xx() -> None:
    async def document() -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="cp-") as name:
            async with open_test_plane(Path(name)) as plane:
                return dict((await plane.nobody.get("/api/openapi.json")).body)

    found = list(operations(asyncio.run(document())))
    assert len(found) >= 25
    request = st.one_of(
        *(st.tuples(st.just(m), st.just(p), body, WORDS, WORDS) for m, p, body in found)
    )

    @settings(
        max_examples=15,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.lists(request, min_size=20, max_size=30))
    def fuzz(requests: list[tuple[str, str, Any, str, str]]) -> None:
        with tempfile.TemporaryDirectory(prefix="cp-") as name:
            asyncio.run(fire(requests, Path(name)))

    fuzz()


def test_the_fuzz_would_notice_a_5xx(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise KeyError("bug")

    from control_plane.service import StudioService  # noqa: PLC0415

    monkeypatch.setattr(StudioService, "validate_name", broken)
    request = ("GET", "/api/studios/validate", None, "demo", "demo")
    with tempfile.TemporaryDirectory(prefix="cp-") as name:
        with pytest.raises(AssertionError, match="/api/studios/validate"):
            asyncio.run(fire([request], Path(name)))
