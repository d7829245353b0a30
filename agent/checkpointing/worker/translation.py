"""What the library raises, as answers with sentences. What isn't named here is a bug."""

from __future__ import annotations

import errno
import os

from agent.checkpointing.orders import Failed, Trouble
from checkpoints.format.damage import DamagedError
from checkpoints.format.parameters import UnknownFormatError
from checkpoints.reading.failures import NoSpaceError, RestoreError
from checkpoints.repository import NoRepositoryError
from checkpoints.storage.failures import LocationError, NotThereError, StorageError
from checkpoints.tree.entry import RefusedError
from checkpoints.writing.commit import FencedError
from checkpoints.writing.reliance import ParentBusyError, ParentGoneError

_TROUBLES: tuple[tuple[type[Exception], Trouble], ...] = (
    (FencedError, Trouble.SUPERSEDED),
    (ParentBusyError, Trouble.PARENT_BUSY),
    (ParentGoneError, Trouble.PARENT_GONE),
    (NoRepositoryError, Trouble.PARENT_GONE),
    (NotThereError, Trouble.PARENT_GONE),
    (StorageError, Trouble.STORAGE),
    (LocationError, Trouble.STORAGE),
    (UnknownFormatError, Trouble.STORAGE),
    (DamagedError, Trouble.DAMAGED),
    (NoSpaceError, Trouble.NO_ROOM),
    (RestoreError, Trouble.REFUSED),
    (RefusedError, Trouble.REFUSED),
    (OSError, Trouble.REFUSED),  # of the folder: a store's own are StorageErrors
)
"""The first that fits: special cases come before what they are cases of."""
EXPECTED = tuple(kind for kind, _ in _TROUBLES)
_FULL = {errno.ENOSPC, errno.EDQUOT}


def translated(error: Exception) -> Failed:
    """Return the answer that says what has happened, of those that are expected."""
    trouble = next(trouble for kind, trouble in _TROUBLES if isinstance(error, kind))
    if isinstance(error, OSError) and error.errno in _FULL:
        trouble = Trouble.NO_ROOM
    retry_helps = trouble is Trouble.PARENT_BUSY or (
        isinstance(error, StorageError) and error.retry_helps
    )
    return Failed(trouble=trouble, sentence=f"{_sentence(error)}.", retry_helps=retry_helps)


def _sentence(error: Exception) -> str:
    """Return what has happened, and the next step, without a full stop."""
    text = str(error).rstrip(". ")
    match error:
        case NotThereError(key=key):
            return f"What is to be read was deleted ({key}): start from another checkpoint"
        case DamagedError():
            return (
                f"What is stored is damaged: {text}. `studios checkpoints verify` says what that "
                "costs"
            )
        case OSError(filename=(str() | bytes()) as where, strerror=str() as reason):
            return f"{os.fsdecode(where)!r} can't be used: {reason}"
        case _:
            return text
