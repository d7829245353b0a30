"""The data folder of a `studios up`: made, locked for one process, token and address written."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from studios.credentials import ADMIN_TOKEN_FILE, URL_FILE, write_private
from studios.failures import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from common.secret import Secret

LOG_BYTES_MAX = 20 * 1024 * 1024  # weeks of a small installation; one older file is kept


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold the folder for this process; made first if missing, readable by us only.

    The folder itself is locked, so there is no lock file to go stale: the kernel forgets the lock
    with the process, however that ends.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise CommandError(
            f"{data_dir} can't be used ({error.strerror}): choose another folder with --data-dir."
        ) from None
    try:
        _lock(fd, data_dir)
        yield
    finally:
        os.close(fd)


def check_not_locked(data_dir: Path) -> None:
    """Raise if another process holds the folder; one that isn't there is free."""
    try:
        fd = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        _lock(fd, data_dir)
    finally:
        os.close(fd)


def _lock(fd: int, data_dir: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CommandError(
            f"{data_dir} is in use by another `studios up`: stop that one, or choose another "
            "folder with --data-dir."
        ) from None


def write_access(data_dir: Path, *, url: str, admin_token: Secret) -> None:
    """Leave what commands on this machine need to get in."""
    write_private(data_dir / ADMIN_TOKEN_FILE, admin_token.reveal().encode() + b"\n")
    write_private(data_dir / URL_FILE, url.encode() + b"\n")


def rotate_log(log: Path) -> None:
    """Put a log that has grown large aside, replacing the one before it."""
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_suffix(".log.1"))
