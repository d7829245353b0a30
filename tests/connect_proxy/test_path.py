"""The path from browser to tool: what goes in and comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.rig import running_rig

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_request_reaches_the_tool_and_its_response_the_client(tmp_path: Path) -> None:
    async with running_rig(tmp_path) as rig:
        response = await rig.get("/a%2F//b?x")
        assert response.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"GET /a%2F//b?x HTTP/1.1\r\n" in response
