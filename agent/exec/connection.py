"""The client of one command: a WebSocket on a connection that was a tunnel's.

Reading never pauses: what may arrive is bounded by the protocol itself (a message's size, stdin's
credit), and so signals and the connection's end are heard while the program reads nothing. Writing
goes at the client's pace, which `flow` and `hold` pass on.

Per-chunk code: `data_received` and `say` run for every message.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import structlog

from common.exec.framing import AgentFraming, Closed, Pinged, Ponged
from common.http1.liveness import probe
from common.http1.upstream import WRITE_BUFFER_BYTES_MAX

if TYPE_CHECKING:
    from common.exec.messages import FromAgent, FromClient

_log = structlog.get_logger()


class ViolationError(Exception):
    """The client did what it must not: a close code and a sentence."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class Listener(Protocol):
    """The command that the client is the client of."""

    def received(self, message: FromClient) -> None:
        """Take a message; raise ViolationError."""
        ...

    def hold(self) -> None:
        """Say no more for now than can't wait."""
        ...

    def flow(self) -> None: ...

    def gone(self) -> None:
        """The client is gone. Called once."""
        ...


class ExecConnection(asyncio.Protocol):
    """See the module."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._framing = AgentFraming()
        self._transport: asyncio.Transport | None = None
        self._held = False
        self._owed_pong: bytes | None = None
        """What answers the last ping: a flood of them at a client that doesn't read piles up
        nothing."""
        self._over = False

    def take_over(self, transport: asyncio.Transport, early: bytes) -> None:
        """Begin after the handshake's answer was written."""
        self._transport = transport
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)
        probe(transport)
        transport.resume_reading()
        if early:
            self.data_received(early)

    # ── what the client says ─────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        try:
            for found in self._framing.receive(data):
                match found:
                    case Closed():
                        self._closed(found)
                    case Pinged(payload):
                        self._answer(payload)
                    case Ponged():
                        pass
                    case _:
                        self._listener.received(found)
        except ViolationError as violation:
            self.refuse(violation.code, violation.sentence)

    def _closed(self, closed: Closed) -> None:
        if closed.is_ours:
            self.refuse(closed.code, closed.reason)
        else:
            self._leave(closed.code, "")

    def refuse(self, code: int, sentence: str) -> None:
        """Close because of what the client did, or didn't."""
        _log.info("exec_client_refused", code=code, sentence=sentence)
        self._leave(code, sentence)

    def _leave(self, code: int, reason: str) -> None:
        """Close now; nothing that is still said reaches the client."""
        assert self._transport is not None
        self._transport.write(self._framing.close(code, reason))
        self._transport.close()
        self._end()

    def eof_received(self) -> bool:
        return False  # a client that goes away and one that only ends its side look the same

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._listener.gone()

    # ── what the client hears ────────────────────────────────────────────────

    def say(self, message: FromAgent) -> None:
        """Send a message; nothing if the client is gone."""
        if not self._over:
            assert self._transport is not None
            self._transport.write(self._framing.message(message))

    def close(self) -> None:
        """Say that this was all. The client closes once it has read it, see `abandon`.

        Closing here could throw away what it hasn't read: a connection that ends with unread stdin
        on it is reset.
        """
        if not self._over:
            assert self._transport is not None
            self._transport.write(self._framing.close())

    def abandon(self) -> None:
        """Close without waiting for the client; what was written may still arrive."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def has_unwritten(self) -> bool:
        """Whether the kernel has not yet taken all that was said."""
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    def _answer(self, payload: bytes) -> None:
        assert self._transport is not None
        if self._held:
            self._owed_pong = payload
        else:
            self._transport.write(self._framing.pong(payload))

    def pause_writing(self) -> None:
        self._held = True
        self._listener.hold()

    def resume_writing(self) -> None:
        self._held = False
        if self._owed_pong is not None:
            payload, self._owed_pong = self._owed_pong, None
            self._answer(payload)
        self._listener.flow()
