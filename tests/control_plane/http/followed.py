"""Streams as their readers see them: server-sent events, and the edges' feed."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.support.plane import ORIGIN, Somebody

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp


@asynccontextmanager
async def stream(somebody: Somebody, path: str) -> AsyncIterator[aiohttp.StreamReader]:
    async with somebody.http.get(ORIGIN + path, headers=somebody.headers) as answer:
        assert answer.status == 200, await answer.text()
        yield answer.content


async def line(content: aiohttp.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        return await content.readline()


async def event(content: aiohttp.StreamReader) -> tuple[str, Any]:
    """Return the next server-sent event; comments are passed over."""
    kind, data = "", ""
    while True:
        text = (await line(content)).decode()
        assert text, "the stream ended"
        name, _, value = text.rstrip("\n").partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            data = value
        elif text == "\n" and kind:
            return kind, json.loads(data)


async def fed(content: aiohttp.StreamReader) -> dict[str, Any]:
    while True:
        text = await line(content)
        assert text, "the feed ended"
        if text.strip():
            return dict(json.loads(text))
