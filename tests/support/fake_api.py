"""A control plane's API in memory, for tests of the command line.

It answers with the API's names, codes and shapes. A Studio that is started or stopped moves one
step along its course with each look at it, so that a test sees every phase without a clock.
`tests/studios/test_against_the_control_plane.py` sends the same commands to the real one.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOKEN = "fake-admin-token"
LOG_TOKEN = "fake-log-token"
EXEC_TOKEN = "fake-exec-token"
ROLES = ("owner", "admin", "maintain", "launch", "connect", "view")

STARTING = [
    ("starting", [("in-progress", "Start JupyterLab"), ("pending", "Wait until it answers")]),
    ("starting", [("succeeded", "Start JupyterLab"), ("in-progress", "Wait until it answers")]),
    ("running", [("succeeded", "Start JupyterLab"), ("succeeded", "Wait until it answers")]),
]
STOPPING = [
    ("stopping", [("in-progress", "Stop JupyterLab")]),
    ("stopped", [("succeeded", "Stop JupyterLab")]),
]
FAILING = [
    ("starting", [("in-progress", "Start JupyterLab")]),
    ("errored", [("errored", "Start JupyterLab")]),
]


class FakeApi:
    """What the control plane would know; tests read and write it freely."""

    def __init__(self) -> None:
        self.url = ""
        self.studios: dict[str, dict[str, Any]] = {}
        self.ahead: dict[str, list[tuple[str, list[tuple[str, str]]]]] = {}
        """What each Studio goes through with the next looks at it."""
        self.users: list[dict[str, Any]] = [{"id": 1, "userName": "admin", "role": "owner"}]
        self.start_course = STARTING
        self.stop_course = STOPPING
        self.unhealthy_looks = 0
        """How often a session's health is bad yet; then the session turns out to be gone."""
        self.log = b"line 1\nline 2\n"
        self.exec_url = ""
        """Where commands are run, see `exec_place`."""
        self.kept_log: bytes | None = None
        """What is there of a log without a session; None where nothing was kept."""
        self.refuse: tuple[int, str] | None = None
        """Answer everything with this code and sentence."""
        self.refuse_stop: tuple[int, str] | None = None
        """Answer that to whoever wants to stop a session."""
        self.refuse_login_link: tuple[int, str] | None = None
        """Answer that to whoever wants a link to log in with."""
        self.seen: list[tuple[str, str]] = []
        """Method and path with query of every request."""
        self.bodies: list[Any] = []

    def have(self, session_id: str, name: str, status: str = "stopped") -> dict[str, Any]:
        """Put a Studio there."""
        studio = {
            "sessionId": session_id,
            "workspaceId": 1,
            "name": name,
            "description": "",
            "studioUrl": f"{self.url.replace('://', f'://a{session_id}.')}/",
            "user": {"id": 1, "userName": "admin"},
            "computeEnv": {"id": "local", "name": "local", "platform": "local", "region": ""},
            "template": {
                "repository": "jupyterlab:4.6.1-0.1.0",
                "icon": "jupyter",
                "status": "recommended",
                "tool": "JupyterLab",
            },
            "configuration": {
                "gpu": 0,
                "cpu": 2,
                "memory": 8192,
                "environment": {"GREETING": "hello"},
            },
            "statusInfo": {"status": status, "message": "", "stopReason": None},
            "progress": [],
            "activeConnections": [],
            "isPrivate": False,
            "dateCreated": "2030-01-01T00:00:00Z",
        }
        self.studios[session_id] = studio
        return studio

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._gate])
        app.add_routes(
            [
                web.get("/api/user-info", self._user_info),
                web.get("/api/studios", self._list),
                web.post("/api/studios", self._create),
                web.get("/api/studios/templates", self._templates),
                web.get("/api/studios/{id}", self._view),
                web.delete("/api/studios/{id}", self._delete),
                web.put("/api/studios/{id}/start", self._start),
                web.put("/api/studios/{id}/stop", self._stop),
                web.post("/api/studios/{id}/lifespan", self._extend),
                web.post("/api/studios/{id}/token", self._token),
                web.get("/api/studios/{id}/logs", self._logs),
                web.get("/api/compute-envs", self._compute_envs),
                web.get("/api/users", self._users),
                web.post("/api/users", self._add_user),
                web.put("/api/users/{id}", self._set_role),
                web.delete("/api/users/{id}", self._remove_user),
                web.post("/api/users/{id}/login-link", self._login_link),
                web.get("/.studio/log", self._session_log),
                web.get("/.studio/health", self._session_health),
            ]
        )
        return app

    @web.middleware
    async def _gate(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.seen.append((request.method, request.path_qs))
        expected = LOG_TOKEN if request.path.startswith("/.studio/") else TOKEN
        if request.headers.get("Authorization") != f"Bearer {expected}":
            return _no(401, "Log in first.")
        if self.refuse is not None:
            return _no(*self.refuse)
        if request.can_read_body:
            self.bodies.append(await request.json())
        session_id = request.match_info.get("id", "")
        if "/studios/" in request.path and session_id and session_id not in self.studios:
            return _no(404, f"There is no Studio {session_id}.")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _user_info(self, _: web.Request) -> web.Response:
        return web.json_response({"user": self.users[0]})

    async def _list(self, request: web.Request) -> web.Response:
        search = request.query.get("search", "")
        offset, most = int(request.query.get("offset", 0)), int(request.query.get("max", 100))
        for session_id in self.studios:
            self._step(session_id)
        found = [studio for studio in self.studios.values() if search in studio["name"]]
        page = found[offset : offset + most]
        return web.json_response({"studios": page, "totalSize": len(found)})

    async def _create(self, request: web.Request) -> web.Response:
        body = self.bodies[-1]
        if any(studio["name"] == body["name"] for studio in self.studios.values()):
            return _no(409, f"A Studio {body['name']!r} exists: choose another name.")
        session_id = f"{len(self.studios) + 0xC0FFEE00:08x}"
        studio = self.have(session_id, body["name"])
        if request.query.get("autoStart") == "true":
            self._begin(session_id, self.start_course)
        return web.json_response({"studio": studio})

    async def _view(self, request: web.Request) -> web.Response:
        session_id = request.match_info["id"]
        self._step(session_id)
        return web.json_response(self.studios[session_id])

    async def _delete(self, request: web.Request) -> web.Response:
        del self.studios[request.match_info["id"]]
        return web.Response(status=204)

    async def _start(self, request: web.Request) -> web.Response:
        session_id = request.match_info["id"]
        if self.studios[session_id]["statusInfo"]["status"] == "running":
            return _no(409, "It is running already.")
        self._begin(session_id, self.start_course)
        return web.json_response({"jobSubmitted": True, "sessionId": session_id})

    async def _stop(self, request: web.Request) -> web.Response:
        if self.refuse_stop is not None:
            return _no(*self.refuse_stop)
        session_id = request.match_info["id"]
        self._begin(session_id, self.stop_course)
        return web.json_response({"jobSubmitted": True, "sessionId": session_id})

    async def _extend(self, request: web.Request) -> web.Response:
        return web.json_response({"studio": self.studios[request.match_info["id"]]})

    async def _token(self, request: web.Request) -> web.Response:
        session = self.studios[request.match_info["id"]]["studioUrl"]
        scope = self.bodies[-1]["scope"]
        if scope == "exec" and self.exec_url:
            return web.json_response({"token": EXEC_TOKEN, "url": self.exec_url})
        return web.json_response({"token": LOG_TOKEN, "url": f"{session}.studio/{scope}"})

    async def _logs(self, _: web.Request) -> web.Response:
        if self.kept_log is None:
            return _no(404, "There is no log.")
        return web.Response(body=self.kept_log, content_type="text/plain")

    async def _templates(self, _: web.Request) -> web.Response:
        template = {
            "repository": "jupyterlab:4.6.1-0.1.0",
            "icon": "jupyter",
            "status": "recommended",
            "tool": "JupyterLab",
        }
        return web.json_response({"templates": [template], "totalSize": 1})

    async def _compute_envs(self, _: web.Request) -> web.Response:
        return web.json_response({"computeEnvs": [{"id": "local", "name": "local"}]})

    async def _users(self, _: web.Request) -> web.Response:
        return web.json_response({"users": self.users})

    async def _add_user(self, _: web.Request) -> web.Response:
        body = self.bodies[-1]
        user = {"id": len(self.users) + 1, "userName": body["name"], "role": body["role"]}
        self.users.append(user)
        return web.json_response({"user": user, "loginUrl": self._link(user["id"])})

    async def _set_role(self, request: web.Request) -> web.Response:
        user = next(u for u in self.users if str(u["id"]) == request.match_info["id"])
        user["role"] = self.bodies[-1]["role"]
        return web.Response(status=204)

    async def _remove_user(self, request: web.Request) -> web.Response:
        self.users = [u for u in self.users if str(u["id"]) != request.match_info["id"]]
        return web.Response(status=204)

    async def _login_link(self, request: web.Request) -> web.Response:
        if self.refuse_login_link is not None:
            return _no(*self.refuse_login_link)
        return web.json_response({"loginUrl": self._link(request.match_info["id"])})

    def _link(self, user_id: object) -> str:
        return f"{self.url}/login?token=once-{user_id}"

    async def _session_health(self, _: web.Request) -> web.Response:
        if self.unhealthy_looks == 0:
            return web.Response(text="ok")
        self.unhealthy_looks -= 1
        if self.unhealthy_looks == 0:
            for studio in self.studios.values():
                studio["statusInfo"]["status"] = "errored"
        return _no(503, "The session can't be reached.")

    async def _session_log(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self.log, content_type="text/plain")

    def _begin(self, session_id: str, course: list[tuple[str, list[tuple[str, str]]]]) -> None:
        self.ahead[session_id] = list(course)
        self._step(session_id)

    def _step(self, session_id: str) -> None:
        if not self.ahead.get(session_id):
            return
        status, progress = self.ahead[session_id].pop(0)
        studio = self.studios[session_id]
        message = "the tool ended with exit code 1" if status == "errored" else ""
        studio["statusInfo"] = {"status": status, "message": message, "stopReason": None}
        studio["progress"] = [
            {"status": step, "message": name, "warnings": []} for step, name in progress
        ]


def _no(status: int, sentence: str) -> web.Response:
    return web.json_response({"message": sentence}, status=status)


@asynccontextmanager
async def serving(api: FakeApi) -> AsyncIterator[FakeApi]:
    """Serve the fake at `http://studio.localhost:<port>` while inside."""
    runner = web.AppRunner(api.application())
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        api.url = f"http://studio.localhost:{port}"
        yield api
    finally:
        await runner.cleanup()
