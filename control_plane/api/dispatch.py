"""Carries out one call of the table: who, parameters, body, handler, answer, in this order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from aiohttp import web

from common.wire import MalformedMessageError, decode, encode
from control_plane.api.route import NO_BODY, AnyRoute, Call
from control_plane.bodies import read_at_most
from control_plane.errors import InvalidError, NotFoundError

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

T = TypeVar("T")

_SEE = "/api/openapi.json describes it."


def handler(route: AnyRoute) -> Handler:
    """Return the aiohttp handler of one line of the table."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return await _answer(route, request)

    return handle


async def _answer(route: AnyRoute, request: web.Request) -> web.StreamResponse:
    who = await route.gate.admit(request)
    parameters = _parse_parameters(route.parameters, request)
    body = await _read_body(route, request)
    reply = await route.handler(Call(who, parameters, body, request))
    if isinstance(reply, web.StreamResponse):
        return reply
    if reply is None:
        return web.Response(status=204)
    return web.Response(
        body=encode(reply), status=route.status, content_type="application/json", charset="utf-8"
    )


def _parse_parameters(kind: type[T], request: web.Request) -> T:
    """Read path and query. A wrong path names nothing (404), a wrong query is a mistake (400)."""
    query: dict[str, Any] = {}
    for name, value in request.query.items():
        query.setdefault(name, value)
    try:
        return msgspec.convert({**query, **request.match_info}, kind, strict=False)
    except msgspec.ValidationError as error:
        wrong = str(error)
    try:
        msgspec.convert({**request.match_info}, kind, strict=False)
    except msgspec.ValidationError as error:
        if any(f"$.{name}`" in str(error) for name in request.match_info):
            raise NotFoundError(
                f"There is nothing at {request.path}: check the id in the address."
            ) from None
    raise InvalidError(f"A parameter of the address is wrong: {wrong}. {_SEE}")


async def _read_body(route: AnyRoute, request: web.Request) -> object:
    if route.body is NO_BODY:
        return None
    data = await read_at_most(request, route.body_bytes_max)
    if not data.strip() and route.body_optional:
        data = b"{}"
    if not data.strip():
        raise InvalidError(f"{request.method} {request.path} needs a JSON body. {_SEE}")
    try:
        return decode(data, route.body)
    except MalformedMessageError as error:
        raise InvalidError(f"The request's body is wrong: {error}. {_SEE}") from None
    except RecursionError:
        raise InvalidError(f"The request's body is nested too deeply. {_SEE}") from None
