"""**Start here.** The messages of docs/exec-protocol.md, as bytes and as values. Pure.

A message is one byte that says its kind, and its content. Each end parses only the kinds that the
other may send.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

import msgspec

from common.wire import MalformedMessageError, decode, encode

DATA_BYTES_MAX = 64 * 1024
"""Of stdin, stdout or stderr in one message: what a pipe holds, and a read of it returns."""
MESSAGE_BYTES_MAX = DATA_BYTES_MAX + 1
ORDER_BYTES_MAX = 1024 * 1024
"""More than a command line that people or build systems make; Linux's own limit is 2 MiB."""
SIGNALS = frozenset(
    (
        "SIGCONT",
        "SIGHUP",
        "SIGINT",
        "SIGKILL",
        "SIGQUIT",
        "SIGTERM",
        "SIGTSTP",
        "SIGUSR1",
        "SIGUSR2",
    )
)
_SIDE_MAX = 0xFFFF  # the kernel keeps sizes of terminals in 16 bits
_VARIABLE = re.compile(rb"[^=\0]+=[^\0]*")


class BadMessageError(Exception):
    """The other end said something that is not in the protocol. The text is a sentence."""


class _Json(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    pass


_Side = Annotated[int, msgspec.Meta(ge=1, le=_SIDE_MAX)]


class Terminal(_Json, frozen=True, kw_only=True):
    """The terminal to make; `type` is the program's TERM."""

    rows: _Side
    columns: _Side
    type: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._+-]{1,64}$")]


class Order(_Json, frozen=True, kw_only=True, omit_defaults=True):
    """What to run. Words of a command line are bytes, which JSON has as base64."""

    arguments: Annotated[tuple[bytes, ...], msgspec.Meta(min_length=1)]
    stdin: bool = False
    """Whether there is any; else it is /dev/null."""
    terminal: Terminal | None = None
    detach: bool = False
    environment: tuple[bytes, ...] = ()
    """NAME=VALUE, on top of the tool's."""
    working_directory: bytes | None = None
    """None is the tool's."""


@dataclass(frozen=True, slots=True)
class Stdin:
    """Bytes for the program."""

    data: bytes


@dataclass(frozen=True, slots=True)
class StdinEnd:
    """No more of them."""


@dataclass(frozen=True, slots=True)
class Resize:
    """The person's terminal has another size."""

    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Signal:
    """For the program's process group; `name` is one of SIGNALS."""

    name: str


@dataclass(frozen=True, slots=True)
class Started:
    """The program runs, with this pid in the session; 0 if it ended before that could be told."""

    pid: int


@dataclass(frozen=True, slots=True)
class Stdout:
    """What the program printed."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Stderr:
    """What the program printed there."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Credit:
    """So many bytes of stdin may be sent besides those before."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence for the person."""

    sentence: str


class Exit(_Json, frozen=True, kw_only=True, omit_defaults=True):
    """How the program ended: exactly one of these."""

    code: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None
    signal: Annotated[str, msgspec.Meta(pattern=r"^SIG[A-Z0-9+-]{2,12}$")] | None = None
    failure: str | None = None
    """A sentence: it could not be started, or nobody knows how it ended."""


FromClient = Order | Stdin | StdinEnd | Resize | Signal
FromAgent = Started | Stdout | Stderr | Credit | Notice | Exit

_ORDER, _STDIN, _STDIN_END, _RESIZE, _SIGNAL = range(5)
_STARTED, _STDOUT, _STDERR, _CREDIT, _NOTICE, _EXIT = range(0x80, 0x86)
_PREFIX = tuple(bytes((kind,)) for kind in range(256))


def pack(message: FromClient | FromAgent) -> bytes:  # noqa: C901, PLR0911 - a table
    """Return a message as bytes."""
    match message:
        case Stdout(data):  # the most frequent ones come first
            return _PREFIX[_STDOUT] + data
        case Stdin(data):
            return _PREFIX[_STDIN] + data
        case Stderr(data):
            return _PREFIX[_STDERR] + data
        case Credit(size_bytes):
            return _PREFIX[_CREDIT] + size_bytes.to_bytes(4, "big")
        case StdinEnd():
            return _PREFIX[_STDIN_END]
        case Resize(rows, columns):
            return _PREFIX[_RESIZE] + rows.to_bytes(2, "big") + columns.to_bytes(2, "big")
        case Signal(name):
            return _PREFIX[_SIGNAL] + name.encode()
        case Started(pid):
            return _PREFIX[_STARTED] + pid.to_bytes(4, "big")
        case Notice(sentence):
            return _PREFIX[_NOTICE] + sentence.encode()
        case Order():
            return _PREFIX[_ORDER] + encode(message)
        case Exit():
            return _PREFIX[_EXIT] + encode(message)


def parse_from_client(data: bytes) -> FromClient:
    """Return a client's message, or raise BadMessageError."""
    kind, content = _split(data)
    if kind == _STDIN and content:
        return Stdin(content)
    if kind == _STDIN_END and not content:
        return StdinEnd()
    if kind == _RESIZE and len(content) == 4:
        rows, columns = int.from_bytes(content[:2], "big"), int.from_bytes(content[2:], "big")
        if rows and columns:
            return Resize(rows, columns)
    if kind == _SIGNAL and (name := content[:16].decode("ascii", "replace")) in SIGNALS:
        return Signal(name)
    if kind == _ORDER:
        return _parse_order(content)
    raise _bad(data)


def parse_from_agent(data: bytes) -> FromAgent:
    """Return an agent's message, or raise BadMessageError."""
    kind, content = _split(data)
    if kind == _STDOUT:
        return Stdout(content)
    if kind == _STDERR:
        return Stderr(content)
    if kind == _CREDIT and len(content) == 4:
        return Credit(int.from_bytes(content, "big"))
    if kind == _STARTED and len(content) == 4:
        return Started(int.from_bytes(content, "big"))
    if kind == _NOTICE:
        return Notice(content.decode(errors="replace"))
    if kind == _EXIT:
        return _parse_exit(content)
    raise _bad(data)


def _split(data: bytes) -> tuple[int, bytes]:
    if not data:
        raise BadMessageError("an empty message is none")
    return data[0], data[1:]


def _parse_order(content: bytes) -> Order:
    try:
        order = decode(content, Order)
    except MalformedMessageError as error:
        raise BadMessageError(f"the order can't be read: {error}") from None
    words = (*order.arguments, order.working_directory or b"")
    if not order.arguments[0] or any(b"\0" in word for word in words):
        raise BadMessageError("the order's words are no command line")
    if not all(_VARIABLE.fullmatch(variable) for variable in order.environment):
        raise BadMessageError("the order's environment is not made of NAME=VALUE")
    if order.detach and (order.stdin or order.terminal is not None):
        raise BadMessageError("an order to detach has neither stdin nor a terminal")
    return order


def _parse_exit(content: bytes) -> Exit:
    try:
        found = decode(content, Exit)
    except MalformedMessageError as error:
        raise BadMessageError(f"the exit can't be read: {error}") from None
    if sum(part is not None for part in (found.code, found.signal, found.failure)) != 1:
        raise BadMessageError("the exit is not one")
    return found


def _bad(data: bytes) -> BadMessageError:
    return BadMessageError(f"a message of kind 0x{data[0]:02x} and {len(data)} bytes is not known")
