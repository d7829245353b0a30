"""A real control plane on a unix socket with a real SQLite database, and who talks to it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import sqlalchemy as sa

from common.clock import SteppingClock
from common.ids import RunNumber, SessionId
from common.messages import RunPhase, StatusReport, ToolPhase, ToolStatus
from common.tokens import AGENT_AUDIENCE, AgentClaims
from common.wire import encode
from control_plane.app import ControlPlane, open_plane
from control_plane.config import ControlPlaneConfig
from control_plane.model import JobStanding, Role
from control_plane.schema import studios

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

ORIGIN = "http://studio.localhost:9191"
DOMAIN = "studio.localhost:9191"
IMAGES = Path(__file__).parent.parent.parent / "images"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """Names in any case."""
    body: Any
    text: str
    cookies: dict[str, str]

    @property
    def message(self) -> str:
        return str(self.body["message"])


@dataclass
class Somebody:
    """Who sends requests: with a token, with cookies, or with nothing."""

    http: aiohttp.ClientSession
    headers: dict[str, str] = field(default_factory=dict)

    async def call(
        self, method: str, path: str, body: Any = None, *, raw: bytes | None = None
    ) -> Answer:
        data = raw if raw is not None else None if body is None else encode(body)
        async with self.http.request(
            method, ORIGIN + path, data=data, headers=self.headers, allow_redirects=False
        ) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return Answer(
                status=answer.status,
                headers=answer.headers,
                body=await answer.json() if is_json and text else None,
                text=text,
                cookies={name: morsel.value for name, morsel in answer.cookies.items()},
            )

    async def get(self, path: str) -> Answer:
        return await self.call("GET", path)

    async def post(self, path: str, body: Any = None) -> Answer:
        return await self.call("POST", path, body)

    async def put(self, path: str, body: Any = None) -> Answer:
        return await self.call("PUT", path, body)

    async def delete(self, path: str) -> Answer:
        return await self.call("DELETE", path)

    def with_headers(self, **headers: str) -> Somebody:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return Somebody(self.http, {**self.headers, **named})


@dataclass
class Plane:
    """What tests hold."""

    plane: ControlPlane
    clock: SteppingClock
    http: aiohttp.ClientSession
    admin: Somebody
    """The first owner, by API token."""

    @property
    def nobody(self) -> Somebody:
        return Somebody(self.http)

    @property
    def edge(self) -> Somebody:
        token = self.plane.login.issue_edge_token("edge-1").reveal()
        return self.nobody.with_headers(Authorization=f"Bearer {token}")

    def agent(self, session_id: str, run: int = 1) -> Somebody:
        now = self.clock.now().timestamp()
        token = self.plane.parts.signer.sign(
            AgentClaims(aud=AGENT_AUDIENCE, iat=now, exp=now + 86400, sid=session_id, run=run)
        )
        return self.nobody.with_headers(Authorization=f"Bearer {token}")

    async def member(self, role: str) -> Somebody:
        """Add a member; returns them with an API token. Called `the-<role>`."""
        person = await self.plane.service.add_user(None, f"the-{role}", Role(role))
        _, token = await self.plane.parts.members.api_tokens.create(person.id, "test")
        return self.nobody.with_headers(Authorization=f"Bearer {token.reveal()}")

    async def browser(self, name: str = "admin") -> Somebody:
        """Return a member logged in to the page, sending what the page's own calls send."""
        people = await self.plane.service.list_users(await self.owner())
        person = next(person for person in people if person.name == name)
        value = await self.plane.parts.members.page_sessions.begin(person.id)
        return self.nobody.with_headers(
            Cookie=f"studio-page={value.reveal()}", Origin=ORIGIN, X_Studios_Request="1"
        )

    async def owner(self) -> Any:
        return await self.plane.login.admin()

    async def add(self, name: str = "demo", **fields: Any) -> str:
        """Add a Studio as the owner; returns its session id."""
        body = {
            "name": name,
            "computeEnvId": "local",
            "dataStudioToolUrl": "jupyterlab",
            **fields,
        }
        answer = await self.admin.post("/api/studios", body)
        assert answer.status == 200, answer.text
        return str(answer.body["studio"]["sessionId"])

    async def run(self, session_id: str, *, sequence: int = 1) -> None:
        """Start it and let its agent say that it runs."""
        number = await self.start(session_id)
        answer = await self.agent(session_id, number).put(
            "/api/agent/v1/status", self.report(session_id, run=number, sequence=sequence)
        )
        assert answer.status == 200, answer.text

    async def start(self, session_id: str) -> int:
        """Start it, and write down that its engine took it; returns the run's number."""
        answer = await self.admin.put(f"/api/studios/{session_id}/start")
        assert answer.status == 200, answer.text
        return await self.mark_submitted(session_id)

    async def mark_submitted(self, session_id: str) -> int:
        """Do the reconciler's part of a start; returns the run's number."""
        async with self.plane.parts.database.begin() as connection:
            await connection.execute(
                sa.update(studios)
                .where(studios.c.session_id == session_id)
                .values(job=JobStanding.SUBMITTED.value, job_run=studios.c.run_number)
            )
        return int((await self.admin.get(f"/api/studios/{session_id}")).body["runNumber"])

    def report(
        self,
        session_id: str,
        *,
        run: int = 1,
        sequence: int = 1,
        phase: RunPhase = RunPhase.RUNNING,
        **sections: Any,
    ) -> StatusReport:
        """Return a report; `sections` are further ones, such as `volume`."""
        return StatusReport(
            session_id=SessionId(session_id),
            run_number=RunNumber(run),
            sequence=sequence,
            sent_at=self.clock.now(),
            phase=phase,
            tool=ToolStatus(phase=ToolPhase.READY),
            **sections,
        )


@asynccontextmanager
async def open_test_plane(
    folder: Path,
    change: Callable[[ControlPlaneConfig], ControlPlaneConfig] = lambda same: same,
    *,
    engines: Mapping[str, Any] | None = None,
) -> AsyncIterator[Plane]:
    """Yield a control plane that listens in `folder`. Its reconciler does not run."""
    socket = folder / "s"
    config = change(
        ControlPlaneConfig(
            data_dir=folder,
            database_url=f"sqlite+aiosqlite:///{folder / 'studios.db'}",
            images_dir=IMAGES,
            work_dir=(folder / "work").as_uri(),
            unix_socket=socket,
        )
    )
    clock = SteppingClock()
    async with open_plane(config, clock, engines or {}) as plane:
        # no jar: each request's Cookie header is what the test says
        async with aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(socket)), cookie_jar=aiohttp.DummyCookieJar()
        ) as http:
            token = (await plane.login.admin_token()).reveal()
            admin = Somebody(http, {"Authorization": f"Bearer {token}"})
            yield Plane(plane, clock, http, admin)
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], *, what: str) -> None:
    """Wait for something named to become true."""
    turns_left = 2000  # 10 s
    while not condition():
        turns_left -= 1
        assert turns_left, f"never happened: {what}"
        await asyncio.sleep(0.005)
