"""The data folder of a `studios up`: made, locked for one process, token and address written."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from studios.credentials import ADMIN_TOKEN_FILE, URL_FILE, write_private
from studios.failures import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from common.secret import Secret

_OPEN_TO_OTHERS = 0o077


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
        raise _unusable(data_dir, error) from None
    try:
        _lock(fd, data_dir)
        _close_to_others(fd, data_dir)
        yield
    finally:
        os.close(fd)


def make_work_folder(path: Path, *, is_ours: bool) -> None:
    """Have the folder that checkpoints go to; only one in the data folder is made.

    Any other is somebody's disk or share: where that is not mounted, nothing belongs in its place.
    """
    try:
        if is_ours:
            path.mkdir(mode=0o700, exist_ok=True)
        is_there = path.is_dir()
    except OSError as error:
        raise CommandError(
            f"The work directory {path} can't be used ({error.strerror}): choose another folder "
            "with --work-dir."
        ) from None
    if not is_there:
        raise CommandError(
            f"The work directory {path} doesn't exist: create or mount it, or choose another with "
            "--work-dir."
        )


def check_not_locked(data_dir: Path) -> None:
    """Raise if another process holds the folder.

    One that can't be opened is held by nobody we could name: `checks` says what is wrong with it.
    """
    try:
        fd = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
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


def _close_to_others(fd: int, data_dir: Path) -> None:
    """Give a folder that was made beforehand the mode of one that we make."""
    try:
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        if mode & _OPEN_TO_OTHERS:
            os.fchmod(fd, mode & ~_OPEN_TO_OTHERS)
    except OSError as error:
        raise _unusable(data_dir, error) from None


def _unusable(data_dir: Path, error: OSError) -> CommandError:
    return CommandError(
        f"{data_dir} can't be used ({error.strerror}): choose another folder with --data-dir."
    )


def write_access(data_dir: Path, *, url: str, admin_token: Secret) -> None:
    """Leave what commands on this machine need to get in."""
    write_private(data_dir / ADMIN_TOKEN_FILE, admin_token.reveal().encode() + b"\n")
    write_private(data_dir / URL_FILE, url.encode() + b"\n")
