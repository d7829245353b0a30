"""Handlers: what is in a checkpoint, folder by folder, and one file out of it.

Names of files are bytes, and need not be text. So a path is percent-encoded, in questions (as all
of an address is) and in answers: what an answer calls `path` or `next` goes into an address as it
is. A client that has text writes it as it would any other parameter.
"""

from __future__ import annotations

import asyncio
import mimetypes
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, unquote_plus, unquote_to_bytes

import msgspec
import structlog
from aiohttp import web

from control_plane.api.checkpoints import CheckpointPath
from control_plane.api.route import Call, Reply
from control_plane.browsing import LIST_MAX
from control_plane.errors import StudiosError

if TYPE_CHECKING:
    from control_plane.browsing import Browsing, Download
    from control_plane.browsing_messages import File
    from control_plane.model import Person

WRITE_SECONDS_MAX = 300.0
"""For a reader to take the next quarter of a megabyte; one who doesn't has gone, or is in the way
of others."""
FENCE = "default-src 'none'; sandbox; frame-ancestors 'none'"
"""Nothing in a file is ever run here, whatever a browser takes it for."""
PLAIN = "application/octet-stream"
_TYPES = mimetypes.MimeTypes(filenames=())
_ACTIVE = ("html", "xml", "svg", "javascript", "ecmascript", "pdf", "flash", "java")
"""In types that browsers may run something of."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_log = structlog.get_logger()


class FileParameters(CheckpointPath, frozen=True, kw_only=True):
    """Which file."""

    path: str


class FilesParameters(CheckpointPath, frozen=True, kw_only=True):
    """Which part of which folder."""

    path: str = ""
    """The whole path; empty for the top folder."""
    after: str = ""
    """`next` of the page before."""
    max: Annotated[int, msgspec.Meta(ge=1, le=LIST_MAX)] = LIST_MAX


class FileShape(Reply, frozen=True, kw_only=True):
    """One entry of a folder."""

    name: str
    """To be shown: what is no text in it is written `\\xff`."""
    path: str
    """Percent-encoded, from the top folder on."""
    kind: str
    """file folder symbolic-link fifo character-device block-device socket deletion"""
    size: int
    """Bytes, of files."""
    modified: datetime | None
    mode: str
    """Octal: `0644`."""
    user: int
    group: int
    target: str
    """Of symbolic links."""


class FileList(Reply, frozen=True, kw_only=True):
    """What is directly in a folder, ordered by the bytes of names."""

    files: tuple[FileShape, ...]
    next: str | None
    """What `after` has to be for the next page; null on the last."""
    saved_at: datetime
    """As of when the files are."""
    generation: int


@dataclass(frozen=True, slots=True)
class FileHandlers:
    """Each takes a checked call and asks `browsing`."""

    browsing: Browsing

    async def list_files(self, call: Call[Person, FilesParameters, None]) -> FileList:
        """What sessions changed; the rest is the image's. For people who may connect."""
        wanted = call.parameters
        query = call.request.rel_url.raw_query_string
        path = raw_parameter(query, "path").strip(b"/")
        found = await self.browsing.list(
            call.who,
            wanted.session_id,
            wanted.checkpoint_id,
            path=path,
            after=raw_parameter(query, "after"),
            limit=wanted.max,
        )
        return FileList(
            files=tuple(file_shape(path, file) for file in found.files),
            next=None if found.next is None else quote(found.next, safe=""),
            saved_at=found.saved_at,
            generation=found.generation,
        )

    async def download_file(self, call: Call[Person, FileParameters, None]) -> web.StreamResponse:
        """Send it as it is; errors after its beginning cut the connection."""
        wanted = call.parameters
        path = raw_parameter(call.request.rel_url.raw_query_string, "path")
        async with self.browsing.get(
            call.who, wanted.session_id, wanted.checkpoint_id, path=path
        ) as download:
            return await _send(call.request, download)


async def _send(request: web.Request, download: Download) -> web.StreamResponse:
    name = download.head.name
    response = web.StreamResponse(
        headers={
            "Content-Type": content_type(name),
            "Content-Disposition": disposition(name),
            "Content-Security-Policy": FENCE,
            "Cache-Control": "private, no-store",
            "X-Accel-Buffering": "no",  # nginx in front would put it all on its disk
        }
    )
    response.content_length = download.head.size_bytes
    await response.prepare(request)
    try:
        async for piece in download.pieces:
            async with asyncio.timeout(WRITE_SECONDS_MAX):
                await response.write(piece)
        await response.write_eof()
    except (StudiosError, TimeoutError) as error:
        # the head is out: a connection that is cut tells the client that it doesn't have all
        _log.warning("download_cut", why=str(error) or "the reader takes nothing")
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the file can't be sent to its end") from error
    except BaseException:
        if request.transport is not None:
            request.transport.abort()
        raise
    return response


def raw_parameter(query: str, name: str) -> bytes:
    """Return the bytes of a query's first parameter of that name; empty without. Pure."""
    for part in query.split("&"):
        key, _, value = part.partition("=")
        if unquote_plus(key) == name:
            return unquote_to_bytes(value.replace("+", " "))
    return b""


def content_type(name: bytes) -> str:
    """Return what a file of that name probably is, if no browser would run it. Pure."""
    found, encoding = _TYPES.guess_type(os.fsdecode(name).lower())
    if found is None or encoding is not None or any(word in found for word in _ACTIVE):
        return PLAIN
    return found


def disposition(name: bytes) -> str:
    """Return the header that has a browser save a file under its name (RFC 6266). Pure."""
    text = name.decode(errors="replace")
    plain = "".join(c if " " <= c <= "~" and c not in '"\\%/' else "_" for c in text)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(text, safe='')}"


def file_shape(folder: bytes, file: File) -> FileShape:
    path = folder + b"/" + file.name if folder else file.name
    return FileShape(
        name=_text(file.name),
        path=quote(path),
        kind=file.kind,
        size=file.size_bytes,
        modified=None if file.kind == "deletion" else _time(file.modified_ns),
        mode=f"{file.mode:04o}",
        user=file.user,
        group=file.group,
        target=_text(file.target),
    )


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")


def _time(time_ns: int) -> datetime | None:
    try:
        return _EPOCH + timedelta(microseconds=time_ns // 1000)
    except OverflowError:  # a file's time may be anything
        return None
