"""What can go wrong with a store: by what happened, and whether trying again helps.

Everything that a `Storage` raises is one of these, but for bugs (`AssertionError`) and
cancellation. The text is a sentence for people, and never has credentials in it.
"""

from __future__ import annotations

from typing import ClassVar


class StorageError(Exception):
    """Something that a store could not do; `key` is the object's, or a listing's prefix."""

    retry_helps: ClassVar[bool] = False
    """Whether the same operation may succeed later without anybody doing anything."""

    def __init__(self, sentence: str, *, operation: str = "", key: str = "") -> None:
        super().__init__(sentence)
        self.operation = operation
        self.key = key


class NotThereError(StorageError):
    """There is no such object; the store itself answered that."""


class AlreadyThereError(StorageError):
    """An object of that name exists: somebody was first, and nothing was written."""


class NotPermittedError(StorageError):
    """The credentials are refused, or don't permit this operation; the sentence names it."""


class StorageAwayError(StorageError):
    """No answer, or one that asks to come back: time-outs, lost connections, 409, 429, 5xx.

    After it a creation may have happened, may still happen, or never.
    """

    retry_helps = True


class StorageFullError(StorageError):
    """No space, or a quota is used up: time alone doesn't change that."""


class StorageMissingError(StorageError):
    """The folder or bucket that everything lies in doesn't exist."""


class StorageBrokenError(StorageError):
    """What is stored isn't what must be: an object ends before the bytes that were asked for."""


def require_whole(size: int, key: str, bytes_max: int) -> None:
    """Raise StorageBrokenError of an object that is too long to be what it should."""
    if size > bytes_max:
        sentence = f"{key} has {size} bytes, more than anything that is written here"
        raise StorageBrokenError(sentence, operation="get", key=key)


class StorageUnfitError(StorageError):
    """The store lacks a feature that nothing here works without; the sentence names it."""


class LocationError(ValueError):
    """An address or its credentials can't be used as they are; the sentence says what to change."""
