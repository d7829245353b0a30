"""Why something could not be read back or restored. Texts are sentences for people."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class RestoreError(Exception):
    """What was made so far stays where it is, and is not complete."""


class NotEmptyError(RestoreError):
    """There is something in the folder already."""


class IsLinkError(RestoreError):
    """The folder is a link: what it points to may be meant, or not."""


class NoSpaceError(RestoreError):
    """The file system is full, or a quota is used up."""


_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
_HINTS = {
    errno.EPERM: "owners, devices and attributes need the rights of root: run this as root",
    errno.EOPNOTSUPP: "its file system can't keep this",
    errno.ENOTDIR: "the tree has names below something that is no folder",
    errno.ELOOP: "the tree has names below a link",
    errno.ENOENT: "the tree has names below a folder that it doesn't have",
    errno.ENOSPC: "make room there, or restore to another file system",
    errno.EDQUOT: "raise the quota, or restore to another file system",
    errno.EEXIST: "something of that name was there already",
}


@contextmanager
def naming(path: bytes, act: str) -> Iterator[None]:
    """Translate the kernel's refusal to do something with a path."""
    try:
        yield
    except OSError as error:
        raise translated(error, path, act) from error


def translated(error: OSError, path: bytes, act: str) -> RestoreError:
    """Return a sentence that says what could not be done with which path."""
    kind = NoSpaceError if error.errno in _FULL else RestoreError
    reason = os.strerror(error.errno) if error.errno else str(error)
    hint = _HINTS.get(error.errno or 0)
    shown = os.fsdecode(path) or "/"
    return kind(f"{shown!r} could not be {act}: {reason}{f' ({hint})' if hint else ''}.")
