"""The table of calls as an OpenAPI 3.1 document, made from the structs that check the calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from common.secret import Secret
from control_plane.api.faults import ErrorReply
from control_plane.api.route import NO_BODY, STREAM, AnyRoute

if TYPE_CHECKING:
    from collections.abc import Sequence

_REF = "#/components/schemas/{name}"

_SECURITY_SCHEMES = {
    "apiToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API token, from `studios login` or POST /api/tokens.",
    },
    "pageCookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "studio-page",
        "description": "The page's cookie. Calls that change something also need a same-origin "
        "`Origin` header and `X-Studios-Request: 1`.",
    },
    "agentToken": {"type": "http", "scheme": "bearer", "description": "One run of one session."},
    "edgeToken": {"type": "http", "scheme": "bearer", "description": "An edge."},
}


def _own_schema(kind: type) -> dict[str, Any]:
    """Describe types that msgspec has no JSON form for."""
    if kind is Secret:
        return {"type": "string"}
    if kind is object:
        return {"description": "Any JSON value"}
    raise NotImplementedError(kind)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def describe(routes: Sequence[AnyRoute], *, version: str) -> dict[str, Any]:
    """Return the document."""
    kinds = {ErrorReply: None}
    for route in routes:
        for kind in (route.body, route.reply):
            if _is_struct(kind):
                kinds[kind] = None
    schemas, components = msgspec.json.schema_components(
        list(kinds), ref_template=_REF, schema_hook=_own_schema
    )
    by_kind = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_kind)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Open Studios", "version": version},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _SECURITY_SCHEMES},
    }


def _operation(route: AnyRoute, by_kind: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation_id,
        "summary": route.summary,
        "parameters": _parameters(route),
        "responses": {
            "204" if route.reply is NO_BODY else str(route.status): _success(route, by_kind),
            "default": {
                "description": "An error, as a sentence that names the next step",
                "content": {"application/json": {"schema": by_kind[ErrorReply]}},
            },
        },
    }
    schemes = route.gate.scheme.split()
    operation["security"] = [{name: []} for name in schemes]
    if route.body is not NO_BODY:
        operation["requestBody"] = {
            "required": not route.body_optional,
            "content": {"application/json": {"schema": by_kind[route.body]}},
        }
    return operation


def _success(route: AnyRoute, by_kind: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    if route.reply is NO_BODY:
        return {"description": "Done"}
    if route.reply is STREAM:
        return {"description": "A stream", "content": {"*/*": {}}}
    return {
        "description": "Done",
        "content": {"application/json": {"schema": by_kind[route.reply]}},
    }


def _parameters(route: AnyRoute) -> list[dict[str, Any]]:
    (schema,), components = msgspec.json.schema_components([route.parameters])
    properties = components[route.parameters.__name__].get("properties", {})
    assert schema, "a struct always has a schema"
    return [
        {
            "name": name,
            "in": "path" if f"{{{name}}}" in route.path else "query",
            "required": f"{{{name}}}" in route.path,
            "schema": properties[name],
        }
        for name in properties
    ]
