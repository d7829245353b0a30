"""JSON in and out: msgspec with our own types, and one exception for what doesn't parse."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from common.secret import Secret

T = TypeVar("T")


class MalformedMessageError(ValueError):
    """Bytes that are not JSON of the expected shape. The text names the field; no retry helps."""


def _encode_own(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError(f"no JSON form for {type(value).__name__}")


def _decode_own(kind: type, value: Any) -> Any:
    if kind is Secret:
        if not isinstance(value, str):
            raise ValueError("a secret is a string")
        return Secret(value)
    raise NotImplementedError(f"no JSON form for {kind.__name__}")


_encoder = msgspec.json.Encoder(enc_hook=_encode_own)


def encode(value: Any) -> bytes:
    """Return `value` (a Struct or plain data) as one line of JSON, secrets revealed."""
    return _encoder.encode(value)


def decode(data: bytes | str, kind: type[T]) -> T:
    """Parse JSON into `kind`; raises MalformedMessageError naming the field that is wrong."""
    try:
        return msgspec.json.decode(data, type=kind, dec_hook=_decode_own)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise MalformedMessageError(str(error)) from None
    except RecursionError:
        raise MalformedMessageError("JSON is nested too deeply") from None
