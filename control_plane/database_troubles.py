"""What databases say when their disk is full or others are in the way, as sentences. Pure."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlalchemy as sa

# Named as in "PostgreSQL Error Codes".
_POSTGRESQL_DISK_FULL = "53100"
_POSTGRESQL_BUSY = frozenset(
    {
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "53300",  # too_many_connections
        "55P03",  # lock_not_available
        "57P03",  # cannot_connect_now: it starts or ends
    }
)
_SQLITE_FULL = frozenset(
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
        if getattr(original, "sqlite_errorcode", None) not in _SQLITE_FULL:
            return None
        whose = "of the data folder"
    elif getattr(original, "sqlstate", None) == _POSTGRESQL_DISK_FULL:
        whose = "of the PostgreSQL database"
    else:
        return None
    return (
        f"The disk {whose} is full, so nothing can be recorded: free space on it, then try again."
    )


def busy_sentence(error: sa.exc.DBAPIError) -> str | None:
    """Return that others were in the way for too long; None if the error is about something else.

    Nothing of the transaction was written.
    """
    original = error.orig
    if isinstance(original, sqlite3.Error):
        # The lower byte is the kind, the rest says more about it.
        busy = getattr(original, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
    else:
        busy = getattr(original, "sqlstate", None) in _POSTGRESQL_BUSY
    return "The database is busy, so nothing was recorded: try again in a moment." if busy else None
