"""What the agent and the process that works for it tell each other. Pure: messages to bytes, back.

    agent → process   `Begin`, then one order at a time; `Cancel` while it is carried out
    process → agent   any number of `…Underway` for an order, then one answer

Each message is a head (lengths of both parts, big-endian), JSON, and an appendix of raw bytes that
only a `Write` has: paths of changes, each followed by a zero byte. JSON has no form for them: paths
are any bytes, and there may be hundreds of thousands.
"""

from __future__ import annotations

import struct
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, cast

import msgspec

from agent.checkpointing.facts import Restored, RestoreProgress, Saved, SaveProgress, Swept
from common import wire
from common.session_spec import WorkDirectory
from common.wire import MalformedMessageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_HEAD = struct.Struct(">II")
HEAD_BYTES = _HEAD.size
MESSAGE_BYTES_MAX = 4 * 1024 * 1024
"""Of JSON. The longest by far are a work directory's keys and certificates, some kilobytes."""
CHANGES_MAX = 200_000
"""Of more, comparing all metadata takes as long."""
CHANGES_BYTES_MAX = 64 * 1024 * 1024
"""300 bytes for each of so many; more is compared, too, rather than kept in memory twice."""
_BATCH = 4096  # paths joined at once: no millisecond of the event loop


class _Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag=True):
    pass


# ── Orders ───────────────────────────────────────────────────────────────────


class Begin(_Message, frozen=True, kw_only=True):
    """Which work directory it is about. Has no answer."""

    work_directory: WorkDirectory


class Seal(_Message, frozen=True, kw_only=True):
    """See `Saver.seal`."""

    checkpoint_id: str
    run_number: int


class Newest(_Message, frozen=True, kw_only=True):
    """See `Saver.newest`."""

    checkpoint_id: str
    before: int | None


class Open(_Message, frozen=True, kw_only=True):
    """See `Saver.open`."""

    checkpoint_id: str
    run_number: int
    image: str
    parent: Saved | None


class Write(_Message, frozen=True, kw_only=True):
    """See `Saver.write`. The appendix has the changes, if they are known."""

    folder: str
    originals: str | None
    has_changes: bool
    since_generation: int
    """What is not older than this generation lacks nothing but these changes."""
    final: bool


class Sweep(_Message, frozen=True, kw_only=True):
    """See `Saver.sweep`."""


class Restore(_Message, frozen=True, kw_only=True):
    """See `Saver.restore`."""

    saved: Saved
    folder: str
    over: tuple[str, ...]


class Cancel(_Message, frozen=True, kw_only=True):
    """Give up what is being done. That is answered as ever, or by `Cancelled`."""


Order = Begin | Seal | Newest | Open | Write | Sweep | Restore | Cancel


# ── Answers ──────────────────────────────────────────────────────────────────


class SaveUnderway(_Message, frozen=True, kw_only=True):
    """How far a `Write` is."""

    progress: SaveProgress


class RestoreUnderway(_Message, frozen=True, kw_only=True):
    """How far a `Restore` is."""

    progress: RestoreProgress


class Found(_Message, frozen=True, kw_only=True):
    """Of `Seal`, `Newest`, `Open` and `Write`."""

    saved: Saved | None


class DoneSweeping(_Message, frozen=True, kw_only=True):
    """Of `Sweep`."""

    swept: Swept


class DoneRestoring(_Message, frozen=True, kw_only=True):
    """Of `Restore`."""

    restored: Restored


class Cancelled(_Message, frozen=True, kw_only=True):
    """It was given up."""


class Trouble(StrEnum):
    """What happened; each is a class of `saver`."""

    SUPERSEDED = "superseded"
    PARENT_GONE = "parentGone"
    PARENT_BUSY = "parentBusy"
    STORAGE = "storage"
    DAMAGED = "damaged"
    NO_ROOM = "noRoom"
    REFUSED = "refused"


class Failed(_Message, frozen=True, kw_only=True):
    """It can't be done, and why."""

    trouble: Trouble
    sentence: str
    retry_helps: bool


Underway = SaveUnderway | RestoreUnderway
Answer = Found | DoneSweeping | DoneRestoring | Cancelled | Failed
Heard = Underway | Answer


# ── Bytes ────────────────────────────────────────────────────────────────────


def encode(message: Order | Heard, *, appendix_bytes: int = 0) -> bytes:
    """Return the bytes of a message, which an appendix of that length follows."""
    body = wire.encode(message)
    assert len(body) <= MESSAGE_BYTES_MAX, "see MESSAGE_BYTES_MAX"
    return _HEAD.pack(len(body), appendix_bytes) + body


def lengths(head: bytes) -> tuple[int, int]:
    """Return how many bytes of JSON and of an appendix follow, or raise MalformedMessageError."""
    body_bytes, appendix_bytes = _HEAD.unpack(head)
    if body_bytes > MESSAGE_BYTES_MAX or appendix_bytes > CHANGES_BYTES_MAX:
        raise MalformedMessageError(f"{body_bytes} and {appendix_bytes} bytes are no message")
    return body_bytes, appendix_bytes


def decode_order(body: bytes) -> Order:
    return cast("Order", wire.decode(body, Order))  # type: ignore[arg-type]  # msgspec knows unions


def decode_heard(body: bytes) -> Heard:
    return cast("Heard", wire.decode(body, Heard))  # type: ignore[arg-type]


def appendix_bytes(changes: Sequence[bytes]) -> int | None:
    """Return how long a list of changes gets; None if it is better not told."""
    if len(changes) > CHANGES_MAX:
        return None
    length = sum(map(len, changes)) + len(changes)
    return length if length <= CHANGES_BYTES_MAX else None


def appendix(changes: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the appendix in pieces."""
    paths = iter(changes)
    while batch := list(islice(paths, _BATCH)):
        batch.append(b"")
        yield b"\0".join(batch)


def parse_appendix(data: bytes) -> tuple[bytes, ...]:
    """Return the paths in an appendix, or raise MalformedMessageError."""
    *paths, rest = data.split(b"\0")
    if rest:
        raise MalformedMessageError("the last path has no end")
    return tuple(paths)
