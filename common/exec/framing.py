"""Whole messages in and out of a WebSocket's stream of bytes, without I/O; wsproto does the frames.

Each end keeps the transport, and so the pace. A message is delivered once it is whole, and never
larger than agreed; no extension is used, so nothing grows by being unpacked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason

from common.exec.messages import (
    MESSAGE_BYTES_MAX,
    ORDER_BYTES_MAX,
    BadMessageError,
    FromAgent,
    FromClient,
    pack,
    parse_from_agent,
    parse_from_client,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wsproto.events import Event

_REASON_BYTES_MAX = 120  # a control frame has room for 123


@dataclass(frozen=True, slots=True)
class Pinged:
    """The other end wants to be answered with this."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Ponged:
    """The other end answered."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The other end closes, or must be closed because of what it sent."""

    code: int
    reason: str
    is_ours: bool
    """Whether it broke the protocol, and `reason` is our sentence about it."""


class Framing:
    """One end. After `Closed` nothing more is received."""

    def __init__(self, kind: ConnectionType) -> None:
        self._websocket = Connection(kind)
        self._parts = bytearray()
        self._bytes_max = ORDER_BYTES_MAX if kind is ConnectionType.SERVER else MESSAGE_BYTES_MAX
        """For the message that is being received: an order, which comes first, may be large."""
        self._over = False

    # ── in ───────────────────────────────────────────────────────────────────

    def _receive(self, data: bytes) -> Iterator[bytes | Pinged | Ponged | Closed]:
        if self._over:
            return
        self._websocket.receive_data(data)
        for event in self._websocket.events():
            found = self._heard(event)
            if isinstance(found, Closed):
                self._over = True
                self._parts.clear()
            if found is not None:
                yield found
            if self._over:
                return

    def _heard(self, event: Event) -> bytes | Pinged | Ponged | Closed | None:
        match event:
            case BytesMessage():
                return self._part(bytes(event.data), is_last=event.message_finished)
            case Ping():
                return Pinged(bytes(event.payload))
            case Pong():
                return Ponged()
            case TextMessage():
                return Closed(CloseReason.UNSUPPORTED_DATA, "Text is not understood here.", True)
            case CloseConnection():
                # wsproto reports a broken frame and a frame that closes alike.
                is_ours = self._websocket.state is ConnectionState.OPEN
                return Closed(event.code, event.reason or "", is_ours)
            case _:
                raise AssertionError(event)

    def _part(self, data: bytes, *, is_last: bool) -> bytes | Closed | None:
        if len(self._parts) + len(data) > self._bytes_max:
            sentence = f"A message is larger than {self._bytes_max} bytes."
            return Closed(CloseReason.MESSAGE_TOO_BIG, sentence, True)
        if is_last and not self._parts:
            whole = data  # saves a copy of nearly everything
        else:
            self._parts += data
            if not is_last:
                return None
            whole = bytes(self._parts)
            self._parts.clear()
        self._bytes_max = MESSAGE_BYTES_MAX
        return whole

    # ── out ──────────────────────────────────────────────────────────────────

    def message(self, message: FromAgent | FromClient) -> bytes:
        """Return the bytes of a message; nothing once this end is closing."""
        return self._send(BytesMessage(data=pack(message)))

    def ping(self) -> bytes:
        return self._send(Ping())

    def pong(self, payload: bytes) -> bytes:
        return self._send(Pong(payload=payload))

    def close(self, code: int = CloseReason.NORMAL_CLOSURE, reason: str = "") -> bytes:
        """Return the frame that closes, or answers the other end's; nothing if it was sent."""
        if self._websocket.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            short = reason.encode()[:_REASON_BYTES_MAX].decode(errors="ignore")
            return bytes(self._websocket.send(CloseConnection(code=code, reason=short)))
        return b""

    def _send(self, event: Event) -> bytes:
        if self._websocket.state is not ConnectionState.OPEN:
            return b""
        return bytes(self._websocket.send(event))


class AgentFraming(Framing):
    """The agent's end."""

    def __init__(self) -> None:
        super().__init__(ConnectionType.SERVER)

    def receive(self, data: bytes) -> Iterator[FromClient | Pinged | Ponged | Closed]:
        """Take the next bytes; what they hold comes one by one, and ends with `Closed`."""
        for found in self._receive(data):
            if not isinstance(found, bytes):
                yield found
                continue
            try:
                message = parse_from_client(found)
            except BadMessageError as error:
                self._over = True
                yield _bad(error)
                return
            yield message


class ClientFraming(Framing):
    """The client's end."""

    def __init__(self) -> None:
        super().__init__(ConnectionType.CLIENT)

    def receive(self, data: bytes) -> Iterator[FromAgent | Pinged | Ponged | Closed]:
        """Take the next bytes; what they hold comes one by one, and ends with `Closed`."""
        for found in self._receive(data):
            if not isinstance(found, bytes):
                yield found
                continue
            try:
                message = parse_from_agent(found)
            except BadMessageError as error:
                self._over = True
                yield _bad(error)
                return
            yield message


def _bad(error: BadMessageError) -> Closed:
    return Closed(CloseReason.PROTOCOL_ERROR, f"{error}".capitalize() + ".", True)
