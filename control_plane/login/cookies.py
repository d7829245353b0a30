"""The page's cookie: one opaque value, host-only, invisible to scripts.

A session's host is a sibling of the page's and may set a cookie for the parent domain ("cookie
tossing"), so a request can carry several of the same name in an order of the attacker's choosing.
Under https the `__Host-` prefix makes browsers refuse those. Under http nothing does, and so every
value is tried: a tossed one can't log a person out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp import web

    from common.secret import Secret

_NAME = "studio-page"
_VALUES_MAX = 8
"""Values of our name that are looked up. Each costs a query; more of them is an attack."""


@dataclass(frozen=True, slots=True)
class PageCookie:
    """Reads and writes the cookie in the form the page's scheme allows."""

    secure: bool

    @property
    def name(self) -> str:
        return f"__Host-{_NAME}" if self.secure else _NAME

    def values(self, headers: Iterable[str]) -> list[str]:
        """Return every value of our name in `Cookie` headers, in order, without repeats."""
        found: dict[str, None] = {}
        for header in headers:
            for pair in header.split(";"):
                name, equals, value = pair.strip().partition("=")
                if equals and name == self.name and value:
                    found[value.strip('"')] = None
        return list(found)[:_VALUES_MAX]

    def put(self, response: web.StreamResponse, value: Secret, *, seconds: float) -> None:
        response.set_cookie(
            self.name,
            value.reveal(),
            max_age=int(seconds),
            path="/",
            httponly=True,
            secure=self.secure,
            samesite="Lax",
        )

    def remove(self, response: web.StreamResponse) -> None:
        response.del_cookie(self.name, path="/", httponly=True, secure=self.secure, samesite="Lax")
