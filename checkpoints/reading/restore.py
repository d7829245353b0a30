"""A generation into a folder, complete. **Start here**.

    names    one thread walks the tree and makes everything but the content of larger files
    plan     pieces of content, some thousands at a time, become spans of packs
    spans    some are read at once, each decompressed, checked and written in a thread
    folders  a second walk gives folders their owners, modes and times

What is written was checked against the hash that the tree has for it, and the tree against that of
the record. What is in memory: the spans under way, the pieces of one batch, and one name of each
file that has several.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from checkpoints.format import names
from checkpoints.format.damage import DamagedError
from checkpoints.reading.attributes import drop_access_rules
from checkpoints.reading.contents import Contents
from checkpoints.reading.deletions import Deletions
from checkpoints.reading.failures import IsLinkError, NotEmptyError, naming
from checkpoints.reading.folders import OPEN_FLAGS, Folders
from checkpoints.reading.making import File, Names, complete_folder, unknown_folder
from checkpoints.reading.progress import Progress
from checkpoints.reading.reach import Loss
from checkpoints.reading.spans import Piece, plan
from checkpoints.reading.survivors import survivors
from checkpoints.storage.failures import NotThereError, StorageBrokenError
from checkpoints.tree.entry import Extents, IndirectExtents, Kind
from checkpoints.tree.keys import key_of, path_of
from checkpoints.tree.long_lists import extents_of
from common.tasks import first_of
from common.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from checkpoints.chunk_source import ChunkSource
    from checkpoints.format.record import Record
    from checkpoints.reading.spans import Span, Wanted
    from checkpoints.repository import Repository
    from checkpoints.storage.storage import Storage
    from checkpoints.tree.entry import Entry
    from checkpoints.tree.keys import Key
    from checkpoints.tree.tree import Tree

SPANS_MAX = 8
"""Under way at once: two are being written while the others are on their way."""
FILLING_THREADS = 2
"""They write, while another makes names. More would only wait for each other: each holds Python's
lock half of the time."""
BATCH_PIECES = 4096
"""Planned at once: enough that a chunk that several files have is mostly read once."""
FIRST_BATCH_PIECES = 128
"""The first batches are small, so that something is on its way soon; each is twice as large."""
FOLDERS_MAX = 50_000
"""Whose entries are kept until they are completed: 20 MB. Of more the tree is read once again."""

_ASKED = {Kind.DELETION, Kind.FOLDER}  # by `Deletions`


@dataclass(frozen=True, slots=True)
class Restored:
    """What there is now."""

    entries: int
    file_bytes: int
    damages: tuple[Loss, ...]
    """What is not there, and why: ascending by path."""
    left_out: int = 0
    """Deletions that would hide nothing."""


async def restore(
    repository: Repository,
    record: Record,
    folder: Path,
    *,
    keep_going: bool = False,
    into_existing: bool = False,
    hides: Callable[[bytes], bool] | None = None,
    report: Callable[[Progress], None] = lambda _: None,
) -> Restored:
    """Make a generation in a folder, in upper form: a deletion is a device 0:0.

    Raises RestoreError; NotEmptyError before anything is done, unless it may be `into_existing`.
    What is damaged is a DamagedError; or, to `keep_going`, left out, and folders of which only is
    known that something is in them are this process's. `report` is called often, and must be quick.
    If `hides` says whether what lies below shows a path, a deletion of what doesn't show is left
    out; it is called in a thread.
    """
    source = await repository.chunks(record)
    tree = repository.tree(record, source)
    await asyncio.to_thread(lambda: tree.root_node)
    root_fd = await asyncio.to_thread(_open_root, folder, into_existing=into_existing)
    try:
        with Threads(1, "restore-names") as naming, Threads(FILLING_THREADS, "restore") as filling:
            return await _Restoration(
                tree,
                source,
                repository.storage,
                root_fd,
                naming,
                filling,
                keep_going=keep_going,
                deletions=Deletions(hides),
                report=report,
            ).run()
    finally:
        os.close(root_fd)


def _open_root(folder: Path, *, into_existing: bool) -> int:
    if folder.is_symlink():
        raise IsLinkError(f"{folder} is a link: give the folder that it leads to.")
    with naming(os.fsencode(folder), "opened"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        root_fd = os.open(folder, OPEN_FLAGS)
    with os.scandir(root_fd) as found:
        if not into_existing and next(found, None) is not None:
            os.close(root_fd)
            raise NotEmptyError(f"{folder} is not empty: give a folder that is, or a new name.")
    drop_access_rules(root_fd)
    return root_fd


class _Restoration:
    def __init__(
        self,
        tree: Tree,
        source: ChunkSource,
        storage: Storage,
        root_fd: int,
        naming: Threads,
        filling: Threads,
        *,
        keep_going: bool,
        deletions: Deletions,
        report: Callable[[Progress], None],
    ) -> None:
        self._tree = tree
        self._source = source
        self._storage = storage
        self._root_fd = root_fd
        self._keep_going = keep_going
        self._deletions = deletions
        self._report = report
        self._contents = Contents(root_fd)
        self._naming = naming
        self._filling = filling
        self._entries = 0
        self._named_bytes = 0
        """Of files, by the thread that makes names; the event loop counts the others."""
        self._filled_bytes = 0
        self._folders: list[tuple[Key, Entry]] | None = []
        """All that were made; None if they were too many."""
        self._lost: list[Loss] = []
        self._unknown_folders: set[bytes] = set()

    async def run(self) -> Restored:
        places = asyncio.Semaphore(SPANS_MAX)
        with Folders(self._root_fd) as folders:
            batches = self._batches(folders)
            try:
                async with asyncio.TaskGroup() as group:
                    coming = group.create_task(self._next(batches), name="restore/names")
                    while (spans := await coming) is not None:
                        coming = group.create_task(self._next(batches), name="restore/names")
                        for span in spans:
                            await places.acquire()
                            group.create_task(self._fill(span, places), name="restore/span")
            except BaseExceptionGroup as errors:
                raise first_of(errors) from None
        self._check()
        await self._naming.run(self._complete_folders)
        files = [Loss(path=path, reason=why) for path, why in self._contents.damages.items()]
        damages = tuple(sorted((*self._lost, *files), key=lambda loss: loss.path))
        left_out = self._deletions.left_out
        return Restored(self._entries - left_out, self._file_bytes, damages, left_out)

    async def _next(self, batches: Iterator[list[Span]]) -> list[Span] | None:
        """Make more names, while what is to be read of those before is under way."""
        return await self._naming.run(next, batches, None)

    async def _fill(self, span: Span, places: asyncio.Semaphore) -> None:
        try:
            for wanted in await self._fill_together(span):
                await self._fill_alone(wanted)
            self._check()
            self._report(Progress(self._entries, self._file_bytes))
        finally:
            places.release()

    async def _fill_together(self, span: Span) -> Sequence[Wanted]:
        """Return the chunks that weren't where they were looked for, or were something else."""
        pack = span.pack
        try:
            stored = await self._storage.get_ranges(
                names.pack(pack.kind, pack.pack_id), [run.range for run in span.runs]
            )
        except (NotThereError, StorageBrokenError):
            return span.chunks
        wrong = await self._filling.run(self._contents.fill, span, stored)
        self._filled_bytes += span.file_bytes
        return wrong

    async def _fill_alone(self, wanted: Wanted) -> None:
        """Look again, and elsewhere; what can't be had costs the files that it is a piece of."""
        try:
            raw = await self._source.read(wanted.chunk_id)
        except DamagedError as error:
            for piece in wanted.pieces:
                await self._filling.run(self._contents.spoil, piece, str(error))
            return
        await self._filling.run(self._contents.fill_one, wanted, raw)

    @property
    def _file_bytes(self) -> int:
        return self._named_bytes + self._filled_bytes

    def _check(self) -> None:
        damages = self._contents.damages
        if damages and not self._keep_going:
            path, problem = next(iter(damages.items()))
            raise DamagedError(f"{os.fsdecode(path)!r} can't be restored: {problem}")

    def _batches(self, folders: Folders) -> Iterator[list[Span]]:
        """Make names, and yield what is to be read for some of them. In threads, one at a time."""
        invented = self._unknown_folders if self._keep_going else None
        pieces = self._pieces(Names(folders, invented), folders)

        def damaged(piece: Piece, error: DamagedError) -> None:
            self._contents.spoil(piece, str(error))

        size = min(FIRST_BATCH_PIECES, BATCH_PIECES)
        while batch := list(islice(pieces, size)):
            size = min(2 * size, BATCH_PIECES)
            yield plan(batch, self._source.place, damaged=damaged)
            self._check()

    def _pieces(self, made: Names, folders: Folders) -> Iterator[Piece]:
        for key, entry in self._walk(self._lost.append):
            self._entries += 1
            if entry.kind in _ASKED and not self._deletions.are_made(key, entry):
                continue
            file = made.make(key, entry)
            if entry.kind is Kind.FOLDER:
                self._remember(key, entry)
            if file is None:
                self._named_bytes += entry.size_bytes
            else:
                yield from self._pieces_of(file)
                if file.is_made:
                    self._contents.piece_done(folders, file)

    def _pieces_of(self, file: File) -> Iterator[Piece]:
        content = file.entry.content
        assert isinstance(content, (Extents, IndirectExtents))
        offset = 0
        try:
            for extent in extents_of(content, self._source.fetch):
                if extent.chunk_id is None:
                    self._named_bytes += extent.length_bytes
                else:
                    if file.is_made:
                        self._contents.expect(file)
                    yield Piece(file, offset, extent.chunk_id, extent.length_bytes)
                offset += extent.length_bytes
        except DamagedError as error:
            file.problem = str(error)

    def _remember(self, key: Key, entry: Entry) -> None:
        if self._folders is not None:
            self._folders.append((key, entry))
            if len(self._folders) > FOLDERS_MAX:
                self._folders = None

    def _complete_folders(self) -> None:
        with Folders(self._root_fd) as folders:
            missing = self._unknown_folders | {b""}
            for key, entry in self._left():
                if entry.kind is Kind.FOLDER:
                    complete_folder(folders, key, entry)
                    missing.discard(path_of(key))
                elif entry.several_names and self._contents.damaged_inodes:
                    self._contents.drop_name(folders, path_of(key), entry)
            for path in missing:
                complete_folder(folders, key_of(path), unknown_folder())

    def _left(self) -> Iterable[tuple[Key, Entry]]:
        """Return what there is still to do something about, ascending; and maybe others."""
        if self._folders is None or self._contents.damaged_inodes:
            return self._walk(lambda _: None)
        return self._folders

    def _walk(self, lost: Callable[[Loss], None]) -> Iterator[tuple[Key, Entry]]:
        return survivors(self._tree, lost) if self._keep_going else self._tree.walk()
