"""Which checkpoints somebody may still be writing to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checkpoints.format.damage import DamagedObjectError
from checkpoints.storage.failures import NotThereError
from checkpoints.writing.reliance import is_ended

if TYPE_CHECKING:
    from checkpoints.format.ids import CheckpointId
    from checkpoints.format.names import Place
    from checkpoints.repository import Repository


class StillWrittenError(Exception):
    """Checkpoints may still be written to. The text is a sentence."""

    def __init__(self, checkpoints: list[CheckpointId]) -> None:
        named = ", ".join(checkpoints)
        what = "Checkpoint" if len(checkpoints) == 1 else "Checkpoints"
        super().__init__(
            f"{what} {named}: neither ended nor continued, so a session may be writing there."
        )
        self.checkpoints = checkpoints


async def check_nobody_writes(repository: Repository) -> None:
    """Raise StillWrittenError if the newest record of any is neither final nor a seal.

    A session that has just begun and has committed nothing yet isn't seen.
    """
    checkpoints = await repository.checkpoints()
    busy = [
        each for each, places in checkpoints.items() if not await _is_ended(repository, places[0])
    ]
    if busy:
        raise StillWrittenError(sorted(busy))


async def _is_ended(repository: Repository, newest: Place) -> bool:
    try:
        return is_ended(await repository.record(newest))
    except NotThereError:
        return True  # deleted since
    except DamagedObjectError:
        return False
