"""Event stream and feed: every change, the whole state after a loss, heartbeats, an end."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from common.edge_messages import FEED_HEARTBEAT_SECONDS, Connection, PresenceReport
from common.ids import SessionId
from control_plane.api.events import HEARTBEAT_SECONDS, PER_PERSON_MAX
from control_plane.events import BACKLOG_MAX, Change, ChangeKind
from control_plane.schema import studios
from tests.control_plane.http.followed import event, fed, line, stream
from tests.support.plane import Plane, open_test_plane, until

if TYPE_CHECKING:
    from pathlib import Path


async def test_events_tell_every_change_as_the_caller_sees_it(plane: Plane) -> None:
    viewer = await plane.member("view")
    async with stream(viewer, "/api/events") as content:
        assert (await line(content)).startswith(b":")
        session_id = await plane.add("fresh")
        kind, studio = await event(content)
        assert (kind, studio["name"], studio["allowedActions"]) == ("studio", "fresh", [])
        await plane.admin.put(f"/api/studios/{session_id}/start")
        assert (await event(content))[1]["statusInfo"]["status"] == "starting"
        await plane.admin.put(f"/api/studios/{session_id}/stop")
        assert (await event(content))[1]["statusInfo"]["status"] in {"stopping", "stopped"}
        other = await plane.add("other")
        assert (await event(content))[1]["sessionId"] == other
        await plane.admin.delete(f"/api/studios/{other}")
        assert await event(content) == ("removed", {"sessionId": other})


async def test_presence_is_a_change(plane: Plane) -> None:
    session_id = await plane.add()
    owner = await plane.owner()
    now = plane.clock.now()
    here = Connection(
        session_id=SessionId(session_id), user_id=owner.id, since=now, last_active=now
    )
    async with stream(plane.admin, "/api/events") as content:
        await line(content)
        await plane.edge.put(
            "/api/edge/v1/presence", PresenceReport(edge_id="edge-1", connections=(here,))
        )
        _, studio = await event(content)
        assert [one["userName"] for one in studio["activeConnections"]] == ["admin"]


async def test_a_reader_that_missed_changes_is_told_to_read_again(plane: Plane) -> None:
    session_id = SessionId(await plane.add())
    async with stream(plane.admin, "/api/events") as content:
        await line(content)
        for _ in range(BACKLOG_MAX + 1):
            plane.plane.parts.bus.publish(Change(ChangeKind.CHANGED, session_id))
        assert await event(content) == ("resync", {})


async def test_the_stream_ends_with_the_membership(plane: Plane) -> None:
    viewer = await plane.member("view")
    user_id = (await viewer.get("/api/user-info")).body["user"]["id"]
    async with stream(viewer, "/api/events") as content:
        await line(content)
        await plane.admin.delete(f"/api/users/{user_id}")
        async with asyncio.timeout(10):
            rest = await content.read()
        assert b"data" not in rest


async def test_the_stream_ends_with_its_api_token_even_in_silence(plane: Plane) -> None:
    made = (await plane.admin.post("/api/tokens", {"name": "script"})).body
    script = plane.nobody.with_headers(Authorization=f"Bearer {made['accessKey']}")
    before = plane.clock.sleeping
    async with stream(script, "/api/events") as content:
        await line(content)
        await plane.admin.delete(f"/api/tokens/{made['token']['id']}")
        await until(lambda: plane.clock.sleeping > before, what="the heart sleeps")
        await plane.clock.advance(HEARTBEAT_SECONDS)
        async with asyncio.timeout(10):
            assert await content.read() == b"\n"


async def test_the_stream_ends_with_its_page_session(plane: Plane) -> None:
    browser = await plane.browser()
    async with stream(browser, "/api/events") as content:
        await line(content)
        await browser.post("/logout")
        await plane.add()
        async with asyncio.timeout(10):
            assert await content.read() == b"\n"


async def test_nobody_takes_all_streams_for_themselves(plane: Plane) -> None:
    viewer = await plane.member("view")
    async with AsyncExitStack() as open_streams:
        for _ in range(PER_PERSON_MAX):
            content = await open_streams.enter_async_context(stream(viewer, "/api/events"))
            await line(content)
        refused = await viewer.get("/api/events")
        assert (refused.status, "close a tab" in refused.message) == (503, True)
        async with stream(plane.admin, "/api/events"):
            pass
    streams = plane.plane.parts.streams
    await plane.add()  # a reader that left is noticed by writing
    await until(lambda: streams.open == 0, what="the streams end")
    async with stream(viewer, "/api/events"):
        pass


async def test_silence_is_broken_by_heartbeats(plane: Plane) -> None:
    for somebody, path, beat in (
        (plane.admin, "/api/events", b": still here\n"),
        (plane.edge, "/api/edge/v1/feed", b"\n"),
    ):
        before = plane.clock.sleeping
        async with stream(somebody, path) as content:
            await line(content)
            if path == "/api/events":
                await line(content)
            await until(lambda: plane.clock.sleeping > before, what="the heart sleeps")  # noqa: B023
            await plane.clock.advance(FEED_HEARTBEAT_SECONDS)
            assert await line(content) == beat


async def test_events_need_a_login_and_the_feed_an_edge(plane: Plane) -> None:
    assert (await plane.nobody.get("/api/events")).status == 401
    for somebody in (plane.nobody, plane.admin, plane.agent("1234abcd")):
        assert (await somebody.get("/api/edge/v1/feed")).status == 401


async def test_the_feed_sends_all_then_complete_then_changes(plane: Plane) -> None:
    one, two = await plane.add("one"), await plane.add("two")
    async with stream(plane.edge, "/api/edge/v1/feed") as content:
        first = [await fed(content), await fed(content)]
        assert {entry["session"]["sessionId"] for entry in first} == {one, two}
        assert first[0]["session"]["owner"] == "admin"
        assert await fed(content) == {"complete": True}
        await plane.admin.put(f"/api/studios/{one}/start")
        changed = (await fed(content))["session"]
        assert (changed["sessionId"], changed["status"], changed["runNumber"]) == (
            one, "starting", 1,
        )  # fmt: skip
        await plane.admin.delete(f"/api/studios/{two}")
        assert await fed(content) == {"removed": two}


async def test_lost_access_reaches_the_feed(plane: Plane) -> None:
    session_id = await plane.add()
    member = await plane.member("connect")
    user_id = (await member.get("/api/user-info")).body["user"]["id"]
    async with stream(plane.edge, "/api/edge/v1/feed") as content:
        before = (await fed(content))["session"]["accessVersion"]
        assert await fed(content) == {"complete": True}
        await plane.admin.put(f"/api/studios/{session_id}", {"isPrivate": True})
        private = (await fed(content))["session"]["accessVersion"]
        assert private > before
        await plane.admin.delete(f"/api/users/{user_id}")
        assert (await fed(content))["session"]["accessVersion"] > private
        assert await fed(content) == {"complete": True}


async def test_a_feed_that_missed_changes_starts_over_and_names_what_is_gone(plane: Plane) -> None:
    keep, gone = await plane.add("keep"), await plane.add("gone")
    async with stream(plane.edge, "/api/edge/v1/feed") as content:
        for _ in range(3):
            await fed(content)
        async with plane.plane.parts.database.begin() as connection:  # and nobody is told
            await connection.execute(
                sa.update(studios).where(studios.c.session_id == gone).values(deleted=True)
            )
        for _ in range(BACKLOG_MAX + 1):
            plane.plane.parts.bus.publish(Change(ChangeKind.CHANGED, SessionId(keep)))
        assert await fed(content) == {"removed": gone}
        assert (await fed(content))["session"]["sessionId"] == keep
        assert await fed(content) == {"complete": True}


@pytest.mark.parametrize("path", ["/api/events", "/api/edge/v1/feed"])
async def test_a_server_that_stops_ends_its_streams(folder: Path, path: str) -> None:
    async with open_test_plane(folder) as plane:
        streams = plane.plane.parts.streams
        somebody = plane.edge if "edge" in path else plane.admin
        async with stream(somebody, path) as content:
            await line(content)
            await until(lambda: streams.open == 1, what="the stream is open")
            await streams.close()
            async with asyncio.timeout(10):
                await content.read()
            await until(lambda: streams.open == 0, what="the stream is closed")
