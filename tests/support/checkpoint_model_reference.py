"""The reference of a model: what every record was to hold, and what must be so at every instant.

- A record that appears holds just what its writer had noted when it asked for its creation, whole,
  and nothing that came before it fenced its writer. (One whose name was free again, below newer
  ones, is a ghost: nobody reads it, and nobody may be told that it was a success.)
- A record that is there can be read whole, whatever was deleted and moved.
- The newest generations of a checkpoint stay, unless somebody asked for its deletion.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from checkpoints.format import names
from checkpoints.format.damage import DamagedError
from tests.support.checkpoint_model_oracle import Oracle, pack_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checkpoints.format.ids import CheckpointId, ChunkId
    from checkpoints.format.names import Place
    from checkpoints.format.record import Record
    from tests.support.checkpoint_model_oracle import Things
    from tests.support.checkpoint_model_store import SimulatedStore

KEPT_WHILE_WRITTEN = 3


@dataclass(frozen=True)
class Committed:
    """What a record must hold."""

    things: Things
    base: Things | None = None


@dataclass(frozen=True)
class Known:
    """A generation that was seen to be whole when it appeared."""

    record: Record
    committed: Committed
    chunks: frozenset[ChunkId]


@dataclass(eq=False)
class Reference:
    """See the module. Listens to a store."""

    store: SimulatedStore
    known: dict[Place, Known] = field(default_factory=dict)
    """All generations that ever were."""
    seals: dict[Place, Record] = field(default_factory=dict)
    """All seals that ever were."""
    given_up: set[CheckpointId] = field(default_factory=set)
    """Whose deletion was asked for."""
    authors: dict[Place, object] = field(default_factory=dict)
    """Whose all records are."""
    ghosts: set[Place] = field(default_factory=set)
    """Under names that were free again, below newer ones: nobody reads them or was told of them."""
    _promised: dict[tuple[Place, str], Committed] = field(default_factory=dict)
    """By name and writer: a name may be free again, and become a ghost's."""
    _sent: dict[bytes, tuple[object, Committed | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.oracle = Oracle(self.store)

    def listen(self) -> None:
        """Look at all that happens from now on."""
        self.store.created = self._created
        self.store.deleted = self._deleted

    def sends(self, author: object, data: bytes, committed: Committed | None) -> None:
        """Note what a record is to hold whose creation is asked for."""
        self._sent[data] = author, committed

    def promised(self, record: Record) -> Committed:
        """Return what a generation is to hold that somebody read, who must read no ghost."""
        assert (record.place, record.writer) in self._promised, f"{record.place} is a ghost"
        return self._promised[record.place, record.writer]

    def is_there(self, place: Place) -> bool:
        return names.record(place) in self.store.objects

    def generations(self, checkpoint_id: CheckpointId) -> list[Place]:
        """Return all that ever were of a checkpoint, newest first."""
        return sorted((p for p in self.known if p.checkpoint_id == checkpoint_id), reverse=True)

    def all_of(self, checkpoint_id: CheckpointId) -> list[Place]:
        """Return all records that ever were of a checkpoint, but ghosts."""
        return [p for p in (*self.known, *self.seals) if p.checkpoint_id == checkpoint_id]

    def is_over(self, checkpoint_id: CheckpointId) -> bool:
        """Say whether nobody may write to a checkpoint any more."""
        if any(place.checkpoint_id == checkpoint_id for place in self.seals):
            return True
        newest = next(iter(self.generations(checkpoint_id)), None)
        return newest is not None and self.known[newest].record.final

    def standing(self) -> Iterator[Known]:
        """Yield the generations that are there."""
        return (known for place, known in sorted(self.known.items()) if self.is_there(place))

    def _created(self, key: str) -> None:
        place = names.parse_record(key)
        if place is not None:
            self._committed(place)
        elif names.parse_moved(key) is not None:
            self.check_whole(reads=True)

    def _committed(self, place: Place) -> None:
        record = self.oracle.record(place)
        if any(place <= other for other in self.all_of(place.checkpoint_id)):
            self.ghosts.add(place)
            self.known.pop(place, None)
            return
        earlier = [known.record for known in self.known.values()] + list(self.seals.values())
        for other in earlier:
            if other.checkpoint_id == place.checkpoint_id:
                what = f"{record.kind} {place} after {other.kind} {other.place}"
                assert other.run_number <= record.run_number, f"{what}: by an earlier run"
                assert other.kind != "seal" or record.kind == "seal", f"{what}: it was fenced"
        author, committed = self._sent[self.store.objects[names.record(place)].data]
        self.authors[place] = author
        if record.tree is None:
            self.seals[place] = record
            return
        assert committed is not None
        try:
            things, chunks = self.oracle.holds(record, record.tree)
            assert things == committed.things, _difference(things, committed.things, place)
            assert (record.base is None) == (committed.base is None), f"{place}: {record.base}"
            if record.base is not None and committed.base is not None:
                base, base_chunks = self.oracle.holds(record, record.base)
                assert base == committed.base, _difference(base, committed.base, place)
                chunks |= base_chunks
        except DamagedError as error:
            raise AssertionError(f"{place} was committed, and isn't whole: {error}") from error
        self.known[place] = Known(record, committed, chunks)
        self._promised[place, record.writer] = committed

    def _deleted(self, key: str) -> None:
        place = names.parse_record(key)
        assert key != names.FORMAT
        if place is not None:
            self._record_deleted(place)
        elif not key.startswith((names.TOMBSTONES, names.MARKS, names.COLLECTIONS, "probes/")):
            self.check_whole()

    def _record_deleted(self, place: Place) -> None:
        checkpoint_id = place.checkpoint_id
        if place in self.ghosts:
            self.ghosts.remove(place)
            return
        if place in self.seals and not any(map(self.is_there, self.generations(checkpoint_id))):
            return
        assert place != max(self.all_of(checkpoint_id)), f"{place} fenced, and was deleted"
        if checkpoint_id in self.given_up:
            return
        kept = 1 if self.is_over(checkpoint_id) else KEPT_WHILE_WRITTEN
        for each in self.generations(checkpoint_id)[:kept]:
            assert self.is_there(each), f"{each} was to be kept"

    def check_whole(self, *, reads: bool = False) -> None:
        """Assert that everything that was committed is still there."""
        for known in self.standing():
            place = known.record.place
            for each in known.record.indexes:
                assert names.index(each.place) in self.store.objects, f"{place} lost {each}"
            indexes = self.oracle.indexes(known.record)
            for chunk in known.chunks:
                if self.oracle.find(indexes, chunk) is None:
                    raise AssertionError(f"{place} lost chunk {chunk.hex()}")
                if reads:
                    self.oracle.read(indexes, chunk)

    def check_nothing_left(self) -> None:
        """Assert that what is stored is needed: collections had all the time that they wait."""
        needed = {names.FORMAT}
        for known in self.standing():
            needed |= self._names_of(known.record)
        needed |= {names.record(place) for place in self.seals}
        deleted = {place.checkpoint_id for place, seal in self.seals.items() if seal.deleted}
        for place in self.ghosts:  # one of few, it may be among those that are kept
            ghost = self.oracle.record(place)
            if place.checkpoint_id not in deleted or ghost.kind == "seal":
                needed |= self._names_of(ghost)
        left = self.store.objects.keys() - needed
        left = {key for key in left if not key.startswith(names.COLLECTIONS)}
        assert not left, f"nobody needs {sorted(left)}"
        for checkpoint_id in {place.checkpoint_id for place in self.known}:
            kept = 1 if self.is_over(checkpoint_id) else KEPT_WHILE_WRITTEN
            there = [place for place in self.generations(checkpoint_id) if self.is_there(place)]
            assert len(there) <= kept, f"{there} are too many"

    def _names_of(self, record: Record) -> set[str]:
        """Return the names of all objects without which a record isn't whole."""
        indexes = self.oracle.indexes(record)
        chunks: set[ChunkId] = set()
        for tree in (record.tree, record.base):
            if tree is not None:
                chunks |= self.oracle.holds(record, tree)[1]
        needed = {names.record(record.place)}
        needed |= {names.index(each.place) for each in record.indexes}
        for chunk in chunks:
            found = self.oracle.find(indexes, chunk)
            assert found is not None
            needed |= {found[0], pack_key(found[1])}
        return needed


def _difference(found: Things, expected: Things, place: Place) -> str:
    paths = sorted(p for p in found.keys() | expected.keys() if found.get(p) != expected.get(p))
    pairs = "\n".join(f"  {p!r}: {found.get(p)} instead of {expected.get(p)}" for p in paths[:5])
    return f"{place} does not hold what was committed:\n{pairs}"
