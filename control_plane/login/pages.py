"""The pages of logging in and out.

A POST here changes who the browser is, so it must come from a page of ours: else a hostile page
could log its visitor in as somebody else and watch what they do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from aiohttp import web

from control_plane.bodies import read_at_most
from control_plane.errors import InvalidError, RefusedError
from control_plane.login import html, page_sessions
from control_plane.login.gates import Members, is_same_origin
from control_plane.login.redirects import path_or_home

if TYPE_CHECKING:
    from control_plane.login.links import LoginLinks
    from control_plane.model import Person

FORM_BYTES_MAX = 16 * 1024
"""A credential and an address to go on to."""
FORM_FIELDS_MAX = 10

_USED_UP = (
    "This login link doesn’t work any more: it was used, is older than a day, or a newer one "
    "replaced it."
)
_WRONG_TOKEN = "This API token isn’t valid."


@dataclass(frozen=True, slots=True)
class LoginPages:
    """`/login` and `/logout`."""

    links: LoginLinks
    members: Members

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/login", self.show),
            web.post("/login", self.log_in),
            web.post("/logout", self.log_out),
        ]

    async def show(self, request: web.Request) -> web.StreamResponse:
        then = path_or_home(request.query.get("next", ""))
        token = request.query.get("token", "")
        if token:
            person = await self.links.look(token)
            if person is not None:
                return html.link_page(name=person.name, token=token, then=then)
        if await self.members.by_cookie(request) is not None:
            return html.redirect(then)  # whoever opens a used link again is in already
        if token:
            return html.login_page(then=then, problem=_USED_UP, status=410)
        return html.login_page(then=then)

    async def log_in(self, request: web.Request) -> web.StreamResponse:
        self._check_origin(request)
        form = await _read_form(request)
        then = path_or_home(form.get("next", ""))
        token, api_token = form.get("token", ""), form.get("apiToken", "")
        person: Person | None
        if token:
            person, problem = await self.links.redeem(token), _USED_UP
        else:
            person = await self.members.api_tokens.find(api_token.strip())
            problem = _WRONG_TOKEN
        if person is None:
            return html.login_page(then=then, problem=problem, status=401)
        value = await self.members.page_sessions.begin(person.id)
        response = html.redirect(then, status=303)
        self.members.cookie.put(response, value, seconds=page_sessions.LIFE.total_seconds())
        return response

    async def log_out(self, request: web.Request) -> web.StreamResponse:
        self._check_origin(request)
        cookie = self.members.cookie
        await self.members.page_sessions.end(cookie.values(request.headers.getall("Cookie", [])))
        response = html.logged_out_page()
        cookie.remove(response)
        return response

    def _check_origin(self, request: web.Request) -> None:
        if not is_same_origin(request, self.members.origin):
            raise RefusedError(f"This form works on {self.members.origin} only: open it there.")


async def _read_form(request: web.Request) -> dict[str, str]:
    data = (await read_at_most(request, FORM_BYTES_MAX)).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(data, max_num_fields=FORM_FIELDS_MAX))
    except ValueError:
        raise InvalidError("The login form has too many fields: open /login again.") from None
