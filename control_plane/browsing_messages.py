"""What a process that reads checkpoints is asked, and answers."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import cast

import msgspec

from checkpoints.format.ids import CheckpointId
from common import wire


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    pass


class List(_Message, frozen=True, kw_only=True):
    """What is directly in a folder, by name."""

    checkpoint_id: CheckpointId
    path: bytes
    after: bytes = b""
    """From after this name on."""
    limit: int


class Get(_Message, frozen=True, kw_only=True):
    """One file: `Head`, then bytes and `Hole`s, then `End`."""

    checkpoint_id: CheckpointId
    path: bytes


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a folder."""

    name: bytes
    kind: str
    """file folder symbolic-link fifo character-device block-device socket deletion"""
    size_bytes: int
    mode: int
    user: int
    group: int
    modified_ns: int
    target: bytes = b""


class Listed(_Message, frozen=True, kw_only=True):
    """The answer to `List`."""

    files: tuple[File, ...]
    next: bytes | None
    """The name that the next page comes after; None if this is the last."""
    saved_at: datetime
    generation: int


class Head(_Message, frozen=True, kw_only=True):
    """A file follows."""

    name: bytes
    size_bytes: int


class Hole(_Message, frozen=True, kw_only=True):
    """So many zeros of a file."""

    length_bytes: int


class End(_Message, frozen=True, kw_only=True):
    """That was all of the file."""


class Trouble(StrEnum):
    """Why something can't be had."""

    MISSING = "missing"
    """It isn't there, or not any more."""
    WRONG = "wrong"
    """The question makes no sense."""
    DAMAGED = "damaged"
    AWAY = "away"
    """Storage doesn't answer, or refuses: later, maybe."""


class Refused(_Message, frozen=True, kw_only=True):
    """The answer instead, or the end of a file that can't be read on."""

    trouble: Trouble
    sentence: str


Ask = List | Get
Answer = Listed | Head | Hole | End | Refused


def decode_ask(body: bytes) -> Ask:
    return cast("Ask", wire.decode(body, Ask))  # type: ignore[arg-type]  # msgspec knows unions


def decode_answer(body: bytes) -> Answer:
    return cast("Answer", wire.decode(body, Answer))  # type: ignore[arg-type]
