"""Reads request bodies, and no more of them than was agreed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control_plane.errors import TooLargeError

if TYPE_CHECKING:
    from aiohttp import web


async def read_at_most(request: web.Request, limit_bytes: int) -> bytes:
    """Return the body; nothing above the limit is ever held in memory."""
    if (request.content_length or 0) > limit_bytes:
        raise TooLargeError(limit_bytes)
    chunks = bytearray()
    async for chunk in request.content.iter_any():
        chunks += chunk
        if len(chunks) > limit_bytes:
            raise TooLargeError(limit_bytes)
    return bytes(chunks)
