"""What is raised when bytes are not what they should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from checkpoints.format.ids import ChunkId


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


class DamagedChunkError(DamagedError):
    """A node, or a list of extents, has the bytes of its id, but they make no sense.

    No store does that: whoever wrote it was wrong, or means harm.
    """

    def __init__(self, chunk: ChunkId, problem: str) -> None:
        super().__init__(f"chunk {chunk.hex()}: {problem}")
        self.chunk_id = chunk
        self.problem = problem
