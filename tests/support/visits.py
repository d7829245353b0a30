"""What a browser sends to a session, and the parts of an answer."""

from __future__ import annotations

import asyncio

from tests.support.rig import Rig, read_head

NAVIGATION = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: none", "Accept: text/html")
FETCH = ("Sec-Fetch-Mode: cors", "Sec-Fetch-Site: same-origin", "Accept: */*")
WEBSOCKET = (
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-Fetch-Mode: websocket",
)


def status(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])


def field(response: bytes, name: str) -> str:
    for line in response.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == name.lower().encode():
            return value.strip().decode()
    return ""


def own_origin(rig: Rig) -> str:
    return f"Origin: http://{rig.host}"


def websocket(rig: Rig, *fields: str, cookie: str | None = None, host: str = "") -> bytes:
    return rig.request(
        "/ws", "Connection: Upgrade", *WEBSOCKET, *(fields or (own_origin(rig),)),
        cookie=cookie, host=host or None, last=False,
    )  # fmt: skip


async def switching(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A tool that joins WebSockets and sends back what it gets, until the end."""
    while head := await read_head(reader):
        if b"Upgrade: websocket" not in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head))
            continue
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n")
        writer.write(b"Upgrade: websocket\r\n\r\n")
        while data := await reader.read(65536):
            writer.write(data)


async def open_websocket(
    rig: Rig, cookie: str | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await rig.connect()
    writer.write(websocket(rig, cookie=cookie))
    head = await read_head(reader)
    assert head.startswith(b"HTTP/1.1 101"), head
    return reader, writer


async def first_head(rig: Rig, raw: bytes) -> bytes:
    """Send bytes and return the first head of an answer; the connection may stay open."""
    reader, writer = await rig.connect()
    writer.write(raw)
    async with asyncio.timeout(20):
        head = await read_head(reader)
    writer.close()
    return head
