"""What is raised when bytes are not what they should be."""

from __future__ import annotations


class DamagedError(Exception):
    """An object, or a part of one, is not what was written. The text says what is wrong with it.

    Whoever reads the object adds its name.
    """


class DamagedObjectError(DamagedError):
    """An object is not what was written, or is missing; `key` is its name in the repository."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key
        self.problem = problem
