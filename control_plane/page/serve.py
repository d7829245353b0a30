"""Hands out the page's files, and the headers that fence in everything this server answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from control_plane.login.html import redirect
from control_plane.login.redirects import login_path

if TYPE_CHECKING:
    from control_plane.login.gates import Members

STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True, slots=True)
class Page:
    """`/` and `/page/…`."""

    members: Members

    def routes(self) -> list[web.AbstractRouteDef]:
        return [web.get("/", self.index), web.get("/page/{name}", self.file)]

    async def index(self, request: web.Request) -> web.StreamResponse:
        if await self.members.by_cookie(request) is None:
            return redirect(login_path(request.raw_path))
        return web.FileResponse(STATIC / "index.html")

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Answer from what is in the folder, so that no name in an address becomes a path."""
        found = {path.name: path for path in STATIC.iterdir() if path.is_file()}
        path = found.get(request.match_info["name"])
        if path is None:
            raise web.HTTPNotFound
        return web.FileResponse(path)


@dataclass(frozen=True, slots=True)
class Fence:
    """Security headers, the same on every answer: what a page may load, and who may frame it."""

    session_scheme: str
    connect_domain: str

    async def put(self, request: web.Request, response: web.StreamResponse) -> None:
        """Run just before an answer's head is sent."""
        headers = response.headers
        headers.setdefault("Content-Security-Policy", self._policy())
        headers["X-Content-Type-Options"] = "nosniff"
        headers["X-Frame-Options"] = "DENY"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        # `no-referrer` would make browsers send `Origin: null` with our own forms
        headers["Referrer-Policy"] = "same-origin"
        if "Cache-Control" not in headers:
            static = request.path.startswith("/page/")
            headers["Cache-Control"] = "no-cache" if static else "no-store"

    def _policy(self) -> str:
        # form-action holds for redirects too: the login form may lead on to a session's host
        return "; ".join(
            (
                "default-src 'none'",
                "script-src 'self'",
                "style-src 'self'",
                "img-src 'self'",
                "connect-src 'self'",
                f"form-action 'self' {self.session_scheme}://*.{self.connect_domain}",
                "frame-ancestors 'none'",
                "base-uri 'none'",
            )
        )
