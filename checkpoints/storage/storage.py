"""What every store of objects promises: small, so that a folder can keep it as well as a bucket.

An object has a key and bytes. It appears whole or not at all, is never changed, and goes only by
`delete`. There is no overwriting, renaming or appending, and no locking: **creating if absent** is
all the coordination that there is. Whatever was created is seen by the next `get` and `list` of
anybody, and outlives a power cut from the moment `put_new` returns.

A *key* is segments of letters, digits, `.`, `_` and `-`, not beginning with a dot, joined by
slashes. No key is a folder of another: a file system could not hold both `a` and `a/b`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

KEY_CHARACTERS_MAX = 512
"""Of S3's 1024 bytes, Azure's 1024 and GCS's 1024, so that a work directory's path fits before."""

WHOLE_BYTES_MAX = 1 << 30
"""Of an object that is read in one piece: more than any that is written here can have. An index of
four million chunks has 200 MB."""

_SEGMENT = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
_KEY = re.compile(rf"{_SEGMENT}(/{_SEGMENT})*")
_PREFIX = re.compile(rf"({_SEGMENT}/)*")


Part = bytes | memoryview
"""Some of an object's bytes, which never change. A view keeps all in memory that was read with it:
who keeps some copies them. Views, because copying some MiB holds up the event loop from any thread.
"""


@dataclass(frozen=True, slots=True)
class Range:
    """Some bytes of an object, at least one."""

    start: int
    length: int

    def __post_init__(self) -> None:
        assert self.start >= 0, self
        assert self.length > 0, self

    @property
    def end(self) -> int:
        """The offset behind the last byte."""
        return self.start + self.length


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing shows it."""

    key: str
    size: int
    modified: datetime
    """By the store's own clock, aware; when the object was created, to the second or better."""


class Storage(Protocol):
    """A folder or a bucket. Implementations: `FolderStorage`, `ObstoreStorage` and the wrappers.

    All operations raise what `failures` has and nothing else. Each may be cancelled; a cancelled
    `put_new` is as uncertain as one that ended in `StorageAwayError`. An operation may be called
    from several tasks at once. None holds up the event loop for more than some milliseconds.
    """

    async def get(self, key: str) -> bytes:
        """Return all of an object, as created. Raises `NotThereError`.

        One that is longer than `WHOLE_BYTES_MAX` is a `StorageBrokenError`, before it is read.
        Copied, unlike parts: what is read whole is mostly small, or kept.
        """
        ...

    async def get_range(self, key: str, start: int, length: int) -> Part:
        """Return exactly `length` ≥ 1 bytes from `start`.

        Raises `NotThereError`; `StorageBrokenError` when the object ends earlier.
        """
        ...

    async def get_suffix(self, key: str, length: int) -> Part:
        """Return the last `length` ≥ 1 bytes, or everything when the object is not longer."""
        ...

    async def get_ranges(self, key: str, ranges: Sequence[Range]) -> Sequence[Part]:
        """Return the bytes of each range, in the order of `ranges`, which may overlap.

        Neighbours are read together where that is faster (`coalescing`). The answer is in memory as
        a whole: a caller asks for no more at a time than it can hold. Fails as `get_range` does.
        """
        ...

    async def put_new(self, key: str, data: bytes) -> None:
        """Create an object; when this returns, it is durable and everybody sees it.

        Raises `AlreadyThereError` if it exists, whatever its content: of any number of callers
        anywhere, one succeeds. After `StorageAwayError` it may exist (only whole), or come to
        exist later; `retrying` finds out. After any other failure it doesn't, or isn't ours.
        """
        ...

    async def delete(self, key: str) -> None:
        """Let an object be gone; a success too if it was. It may come back after a power cut."""
        ...

    def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        """Yield the objects whose keys begin with `prefix`, ascending by key as bytes.

        `prefix` is "" or ends in a slash. Only those > `after`. What exists all the time is yielded
        once; what comes or goes meanwhile, once or not at all. Names that are no keys are skipped.
        Nothing below `prefix` is an empty listing, not an error.
        """
        ...

    async def size(self, key: str) -> int:
        """Return how many bytes an object has. Raises `NotThereError`."""
        ...


def is_key(text: str) -> bool:
    """Say whether it may name an object."""
    return len(text) <= KEY_CHARACTERS_MAX and _KEY.fullmatch(text) is not None


def check_key(key: str) -> None:
    """Assert that it is a key: those that aren't are bugs, for all keys are made here."""
    assert is_key(key), f"{key!r} is not a key"


def check_prefix(prefix: str) -> None:
    """Assert that it is a prefix of whole segments."""
    assert _PREFIX.fullmatch(prefix), f"{prefix!r} is not a prefix: it must end in a slash"
