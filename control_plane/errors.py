"""Expected failures, by what happened; each text is one sentence that names the next step.

The core knows no HTTP: one table in `api/` turns each class into a status code.
"""

from __future__ import annotations


class StudiosError(Exception):
    """What the caller asked for can't be done. `sentence` is for people."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class InvalidError(StudiosError):
    """The request itself is wrong: sending it again won't help."""


class RefusedError(StudiosError):
    """The person may not do this; somebody else may."""


class NotFoundError(StudiosError):
    """There is no such thing, or it is gone."""


class ConflictError(StudiosError):
    """The request is fine but not now, or not beside what exists."""


class UnavailableError(StudiosError):
    """Something this depends on doesn't answer: the same request may work later."""


class StorageFullError(StudiosError):
    """The database's disk is full: the same request works once there is space on it."""


class TooLargeError(StudiosError):
    """A body above its limit."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The request's body is larger than {limit_bytes // 1024} KiB: send less.")
