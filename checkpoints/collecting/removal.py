"""Deletes objects, and counts what the store refuses to: the next collection tries that again.

Nothing is worse for a refusal. What must go before something else is deleted by the same task, and
the other stays if it is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from checkpoints.storage.failures import NotPermittedError
from common.tasks import side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from checkpoints.storage.storage import Storage

DELETIONS_AT_ONCE = 8
REFUSALS_MAX = 16
"""So many in a row, and no more is tried: whoever may delete nothing, needn't be told for each."""

_log = structlog.get_logger()


class Removal:
    """Deletes for one collection."""

    def __init__(self, storage: Storage, is_too_late: Callable[[], bool] = lambda: False) -> None:
        """From when it is too late on, nothing is deleted any more, and nothing counted."""
        self.refused = 0
        self.refusal = ""
        self._storage = storage
        self._is_too_late = is_too_late
        self._in_a_row = 0

    async def delete(self, *keys: str) -> bool:
        """Delete objects in this order; False if one wasn't, and then none after it."""
        if self._in_a_row >= REFUSALS_MAX:
            self.refused += 1
            return False
        for key in keys:
            if self._is_too_late():
                return False
            try:
                await self._storage.delete(key)
            except NotPermittedError as error:
                self.refused += 1
                self._in_a_row += 1
                self.refusal = self.refusal or str(error)
                _log.warning("collection_delete_refused", key=key, reason=str(error))
                return False
            self._in_a_row = 0
        return True

    async def delete_all(self, groups: Iterable[Sequence[str]]) -> list[bool]:
        """Delete groups of objects, several at once; return what became of each."""
        ordered = [tuple(group) for group in groups]
        results = [False] * len(ordered)

        async def delete(number: int) -> None:
            results[number] = await self.delete(*ordered[number])

        await side_by_side(range(len(ordered)), delete, at_once=DELETIONS_AT_ONCE)
        return results
