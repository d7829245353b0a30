"""The WebSocket handshake (RFC 6455, section 4) as both ends of an exec need it. Pure."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from wsproto.utilities import generate_accept_token

from common.http1.head import Headers, tokens, write_request, write_response

if TYPE_CHECKING:
    from common.http1.head import RequestHead, ResponseHead

PROTOCOL = b"studio-exec.1"
_VERSION = b"13"
_NONCE_BYTES = 16


class HandshakeError(Exception):
    """A handshake that is not one of this protocol. The text is a sentence."""


def ask(target: bytes, host: bytes, bearer: bytes, nonce: bytes) -> bytes:
    """Return a client's request; `nonce` is 16 random bytes."""
    assert len(nonce) == _NONCE_BYTES
    headers: Headers = [
        (b"Host", host),
        (b"Authorization", b"Bearer " + bearer),
        (b"Connection", b"Upgrade"),
        (b"Upgrade", b"websocket"),
        (b"Sec-WebSocket-Version", _VERSION),
        (b"Sec-WebSocket-Protocol", PROTOCOL),
        (b"Sec-WebSocket-Key", base64.b64encode(nonce)),
    ]
    return write_request(b"GET", target, 1, headers)


def accept(head: RequestHead) -> bytes:
    """Return the agent's answer, or raise HandshakeError."""
    if not head.is_websocket:
        raise HandshakeError("This is the place of a WebSocket.")
    if head.content_length or head.chunked:
        raise HandshakeError("The handshake has a body.")
    if head.fields.get(b"sec-websocket-version", b"").strip() != _VERSION:
        raise HandshakeError("The WebSocket's version has to be 13.")
    if not _is_nonce(key := head.fields.get(b"sec-websocket-key", b"").strip()):
        raise HandshakeError("The handshake has no key.")
    offered = [name for value in head.all(b"sec-websocket-protocol") for name in tokens(value)]
    if PROTOCOL not in offered:
        raise HandshakeError(
            f"Only {PROTOCOL.decode()} is spoken here: is your `studios` of another version?"
        )
    headers = [
        (b"Connection", b"Upgrade"),
        (b"Upgrade", b"websocket"),
        (b"Sec-WebSocket-Protocol", PROTOCOL),
        (b"Sec-WebSocket-Accept", generate_accept_token(key)),
    ]
    return write_response(101, b"Switching Protocols", headers)


def is_accepted(head: ResponseHead, nonce: bytes) -> bool:
    """Whether a response accepts what `ask` asked with this nonce; raise HandshakeError for a lie.

    Anything else than 101 is an ordinary response with a reason in it.
    """
    if head.status != 101:
        return False
    expected = generate_accept_token(base64.b64encode(nonce))
    fields = head.fields
    if (
        fields.get(b"sec-websocket-accept", b"").strip() != expected
        or fields.get(b"sec-websocket-protocol", b"").strip() != PROTOCOL
        or b"sec-websocket-extensions" in fields
    ):
        raise HandshakeError("What answered does not speak the protocol of exec.")
    return True


def _is_nonce(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == _NONCE_BYTES
    except binascii.Error:
        return False
