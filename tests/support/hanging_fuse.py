"""A FUSE server that takes every read and never answers.

`python -m tests.support.hanging_fuse DIR` mounts it at DIR with one file, `object`. It says
`mounted`, and `reading` once somebody hangs. It ends with whoever started it.
The messages are those of linux/fuse.h; the few that a lookup and an open need are answered.
"""

from __future__ import annotations

import os
import signal
import stat
import struct
import sys
from typing import TYPE_CHECKING

from agent.root import kernel

if TYPE_CHECKING:
    from collections.abc import Callable

FILE = "object"
FILE_BYTES = 4096
_ROOT, _FILE = 1, 2
_LOOKUP, _FORGET, _GETATTR, _OPEN, _READ, _RELEASE, _FLUSH, _INIT = 1, 2, 3, 14, 15, 18, 25, 26
_INTERRUPT, _BATCH_FORGET = 36, 42
_ENOENT, _ENOSYS = 2, 38
_UNANSWERED = frozenset({_FORGET, _READ, _INTERRUPT, _BATCH_FORGET})
_REQUEST = struct.Struct("=IIQQIIIHH")
_ANSWER = struct.Struct("=IiQ")
_REQUEST_BYTES_MAX = 1 << 20
_MAX_WRITE_BYTES = 4096
_VALID_SECONDS = 100


def attributes(node: int) -> bytes:
    mode = stat.S_IFDIR | 0o755 if node == _ROOT else stat.S_IFREG | 0o644
    size = 0 if node == _ROOT else FILE_BYTES
    return struct.pack("=6Q10I", node, size, 8, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def initialise(node: int, body: bytes) -> bytes:
    return struct.pack("=IIIIHHIIHHI28x", 7, 31, 0, 0, 1, 1, _MAX_WRITE_BYTES, 1, 1, 0, 0)


def look_up(node: int, body: bytes) -> bytes | None:
    if body != FILE.encode() + b"\0":
        return None
    entry = struct.pack("=QQQQII", _FILE, 0, _VALID_SECONDS, _VALID_SECONDS, 0, 0)
    return entry + attributes(_FILE)


ANSWERS: dict[int, Callable[[int, bytes], bytes | None]] = {
    _INIT: initialise,
    _LOOKUP: look_up,
    _GETATTR: lambda node, body: struct.pack("=QII", _VALID_SECONDS, 0, 0) + attributes(node),
    _OPEN: lambda node, body: struct.pack("=QII", 1, 0, 0),
    _FLUSH: lambda node, body: b"",
    _RELEASE: lambda node, body: b"",
}
"""None is "no such file"."""


def serve(fd: int) -> None:
    """Answer until the connection is aborted; then wait to be ended, holding it open."""
    while True:
        message = os.read(fd, _REQUEST_BYTES_MAX)
        _, code, unique, node, *_ = _REQUEST.unpack_from(message)
        if code == _READ:
            say("reading")
        if code in _UNANSWERED:
            continue
        error, answer = -_ENOSYS, b""
        if code in ANSWERS:
            given = ANSWERS[code](node, message[_REQUEST.size :])
            error, answer = (-_ENOENT, b"") if given is None else (0, given)
        os.write(fd, _ANSWER.pack(_ANSWER.size + len(answer), error, unique) + answer)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(folder: str) -> None:
    kernel.die_with_parent(signal.SIGKILL)
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other"
    flags = kernel.MS_NODEV | kernel.MS_NOSUID
    kernel.mount("studios-hang", folder, "fuse", flags, options)
    say("mounted")
    try:
        serve(fd)
    except OSError as error:
        say(f"over: {error}")
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
