"""What databases say when their disk is full, as a sentence for people. Pure."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlalchemy as sa

_POSTGRESQL_DISK_FULL = "53100"  # disk_full in "PostgreSQL Error Codes"
_SQLITE_CODES = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR_SHMSIZE,  # the index of the write-ahead log couldn't become longer
    }
)


def disk_full_sentence(error: sa.exc.DBAPIError) -> str | None:
    """Return what is full and what helps; None if the error is about something else."""
    original = error.orig
    if isinstance(original, sqlite3.Error):
        # One that the driver itself raises has no code.
        if getattr(original, "sqlite_errorcode", None) not in _SQLITE_CODES:
            return None
        whose = "of the data folder"
    elif getattr(original, "sqlstate", None) == _POSTGRESQL_DISK_FULL:
        whose = "of the PostgreSQL database"
    else:
        return None
    return (
        f"The disk {whose} is full, so nothing can be recorded: free space on it, then try again."
    )
