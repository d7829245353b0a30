"""What a capture has to look at: the changes since the last one that was committed, if known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

from agent.volume.changes.finder import changed
from agent.volume.changes.point import UPPER, point_of
from agent.volume.changes.unknown import ChangesUnknownError
from common.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agent.volume.changes.point import Point

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Found:
    """What a snapshot shows."""

    folder: Path
    """The run's changes: what is written."""
    changes: Sequence[bytes] | None
    """Paths of all that may have changed; None if that isn't known, and all is to be compared."""
    commit: Callable[[], None]
    """To be called once what the snapshot shows is committed: the next changes are those since."""


class ChangeFinder(Protocol):
    """Knows since when."""

    async def find(self, snapshot: Path) -> Found:
        """Look into a snapshot of the volume's `active`."""
        ...


class Unknown:
    """Knows nothing: what changed is found by comparing what there is with what was saved."""

    async def find(self, snapshot: Path) -> Found:
        """See `ChangeFinder`."""
        return Found(snapshot / UPPER, None, _nothing)


class BtrfsChanges:
    """Asks btrfs; see `agent.volume.changes.finder`."""

    def __init__(self) -> None:
        self._threads = Threads(1, "changes")
        self._since: Point | None = None

    async def find(self, snapshot: Path) -> Found:
        """See `ChangeFinder`."""
        paths, point = await self._threads.run(self._look, snapshot)
        return Found(snapshot / UPPER, paths, lambda: self._commit(point))

    def _look(self, snapshot: Path) -> tuple[tuple[bytes, ...] | None, Point | None]:
        if self._since is not None:
            try:
                found = changed(snapshot, self._since)
            except ChangesUnknownError as error:
                _log.info("changes_unknown", reason=str(error))
            else:
                return found.paths, found.point
        try:
            return None, point_of(snapshot)
        except ChangesUnknownError as error:
            _log.warning("snapshot_without_point", reason=str(error))
            return None, None

    def _commit(self, point: Point | None) -> None:
        self._since = point


def _nothing() -> None: ...
