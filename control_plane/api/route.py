"""One call of the API, described once: the same description routes, checks and documents it.

A `Route` ties together who may call, what a call carries and what comes back. Its type parameters
make the type checker compare the handler with the description, so neither can lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

W = TypeVar("W", covariant=True)
"""Who calls."""
Q = TypeVar("Q")
"""Parameters in path and query."""
B = TypeVar("B")
"""The body."""
R = TypeVar("R")
"""The reply."""


class Parameters(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """No parameters; base of structs of them. Fields named in the path come from the path.

    Unknown query parameters are ignored: clients of the reference platform send some we have no
    use for.
    """


class Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base of request bodies. An unknown field is refused: it is a spelling mistake."""


class Reply(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of replies."""


NO_BODY = type(None)
"""The call carries no body (one that is sent is ignored), or the reply has none: 204."""

STREAM = web.StreamResponse
"""The handler answers by itself."""


class Gate(Protocol[W]):
    """Finds out who calls. Implementations are in `control_plane.login.gates`."""

    @property
    def scheme(self) -> str:
        """The name of the OpenAPI security scheme; empty for calls open to everybody."""
        ...

    async def admit(self, request: web.Request) -> W:
        """Return the caller; raises NotLoggedInError or RefusedError."""
        ...


@dataclass(frozen=True, slots=True)
class Call(Generic[W, Q, B]):
    """One request, checked: handlers get this and nothing else."""

    who: W
    parameters: Q
    body: B
    request: web.Request
    """For streams only; everything else is in the other fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Generic[W, Q, B, R]):
    """One line of the API's table."""

    method: str
    path: str
    summary: str
    gate: Gate[W]
    parameters: type[Q]
    body: type[B]
    reply: type[R]
    handler: Callable[[Call[W, Q, B]], Awaitable[R]]
    status: int = 200
    body_bytes_max: int = (
        1024 * 1024
    )  # the largest sensible body is an environment; 64 KiB is usual
    """Above it the answer is 413."""
    body_optional: bool = False
    """An empty body counts as `{}`."""

    @property
    def operation_id(self) -> str:
        return self.handler.__name__


AnyRoute = Route[Any, Any, Any, Any]
