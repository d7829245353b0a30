"""The few WebSocket frames that the echo benchmark exchanges (RFC 6455, section 5.2). Pure."""

from __future__ import annotations

import base64
import hashlib

PAYLOAD_BYTES = 32
SERVER_FRAME_BYTES = 2 + PAYLOAD_BYTES
CLIENT_FRAME_BYTES = SERVER_FRAME_BYTES + 4
_TEXT_FINAL = 0x81
_MASKED = 0x80
_MASK = bytes((0x37, 0xFA, 0x21, 0x3D))
_LONG_MASK = int.from_bytes(_MASK * (PAYLOAD_BYTES // 4), "big")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


def accept(key: bytes) -> bytes:
    """Return what a server answers to the client's key."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def payload(number: int) -> bytes:
    return b"%0*d" % (PAYLOAD_BYTES, number)


def from_client(text: bytes) -> bytes:
    return bytes((_TEXT_FINAL, _MASKED | PAYLOAD_BYTES)) + _MASK + _masked(text)


def from_server(text: bytes) -> bytes:
    return bytes((_TEXT_FINAL, PAYLOAD_BYTES)) + text


def text_of(client_frame: bytes) -> bytes:
    """Return what a whole frame of `from_client` says."""
    return _masked(client_frame[6:])


def _masked(text: bytes) -> bytes:
    return (int.from_bytes(text, "big") ^ _LONG_MASK).to_bytes(PAYLOAD_BYTES, "big")
