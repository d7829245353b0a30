"""Which packs are there, as far as is known, and which of their chunks are bad."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from checkpoints.format import names
from checkpoints.format.damage import DamagedObjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from checkpoints.format.ids import ChunkId, PackId
    from checkpoints.format.index import ChunkPlace
    from checkpoints.format.pack import PackKind


MISSING = "is missing"


class KnownPacks:
    """Grows while packs are read. Belongs to the event loop that runs."""

    def __init__(self, look: Callable[[PackKind, PackId], Coroutine[None, None, None]]) -> None:
        """`look` finds out whether an unknown pack is there, and says so with `there` or `gone`."""
        self._look = look
        self._there: dict[PackId, PackKind] = {}
        self._gone: set[PackId] = set()
        self._bad: dict[tuple[PackId, ChunkId], str] = {}
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        return len(self._there)

    def there(self, kind: PackKind, pack_id: PackId) -> None:
        self._there[pack_id] = kind

    def gone(self, pack_id: PackId) -> None:
        self._there.pop(pack_id, None)
        self._gone.add(pack_id)

    def bad(self, pack_id: PackId, chunk: ChunkId, what: str) -> None:
        self._bad[pack_id, chunk] = what

    def all(self) -> dict[PackId, PackKind]:
        """Return those that are there."""
        return dict(self._there)

    def why_not(self, chunk: ChunkId, place: ChunkPlace) -> DamagedObjectError | None:
        """Return why a chunk can't be had from a place. Only for threads: waits for the loop."""
        pack_id, kind = place.pack.pack_id, place.pack.kind
        if pack_id not in self._there and pack_id not in self._gone:
            asyncio.run_coroutine_threadsafe(self._look(kind, pack_id), self._loop).result()
        if pack_id in self._gone:
            return DamagedObjectError(names.pack(kind, pack_id), MISSING)
        if what := self._bad.get((pack_id, chunk)):
            return DamagedObjectError(names.pack(kind, pack_id), what)
        return None
