"""The process that reads checkpoints for people: one question after the other.

What was opened stays open: the next folder of the same generation takes one read or none.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, assert_never

from checkpoints.format.damage import DamagedError
from checkpoints.format.parameters import UnknownFormatError
from checkpoints.reading.content import (
    NoContentError,
    find,
    named,
    path_from,
    read_content,
)
from checkpoints.repository import NoRepositoryError, Repository
from checkpoints.storage.failures import LocationError, NotThereError, StorageError
from checkpoints.tree.entry import Kind, Target
from control_plane import storage_worker
from control_plane.browsing_messages import (
    Ask,
    End,
    File,
    Get,
    Head,
    Hole,
    List,
    Listed,
    Refused,
    Trouble,
    decode_ask,
)

if TYPE_CHECKING:
    import msgspec

    from checkpoints.chunk_source import ChunkSource
    from checkpoints.format.ids import CheckpointId
    from checkpoints.format.record import Record
    from checkpoints.tree.entry import Entry
    from checkpoints.tree.tree import Tree
    from control_plane.storage_worker import Teller

OPENED_MAX = 4
"""Generations whose indexes are kept in memory: of a million files, 40 MB each."""
PIECE_BYTES = 256 * 1024
"""At a time: a larger one would keep the other end's loop busy for milliseconds."""

_GONE = (
    "Nothing is stored of this checkpoint any more: somebody deleted it, or its work directory was "
    "emptied. Take another one."
)
_EXPECTED = (
    NoRepositoryError, NoContentError, DamagedError, StorageError, LocationError,
    UnknownFormatError, OSError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Opened:
    record: Record
    source: ChunkSource
    tree: Tree


class Reading:
    """Answers about one work directory."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._opened: dict[CheckpointId, _Opened] = {}

    async def answer(self, ask: Ask, teller: Teller) -> None:
        """Answer one question; whatever goes wrong that can is an answer, too."""
        for is_last in (False, True):
            counted = _Counted(teller)
            try:
                match ask:
                    case List():
                        await counted.tell(await self._list(ask))
                    case Get():
                        await self._get(ask, counted)
                    case _:
                        assert_never(ask)
                return
            except NotThereError as error:
                # what a session that goes on has replaced is deleted: there is a newer state
                self._opened.pop(ask.checkpoint_id, None)
                if is_last or counted.told:
                    await teller.tell(refusal(error, ask.path))
                    return
            except _EXPECTED as error:
                self._opened.pop(ask.checkpoint_id, None)
                await teller.tell(refusal(error, ask.path))
                return

    async def _list(self, ask: List) -> Listed:
        opened = await self._open(ask.checkpoint_id)
        path = _path(ask.path)

        def listed() -> list[tuple[bytes, Entry]]:
            entry = find(opened.tree, path)
            if entry.kind is not Kind.FOLDER:
                raise _WrongQuestionError(
                    f"{os.fsdecode(path)!r} is no folder: it is {named(entry)}."
                )
            return list(islice(opened.tree.listing(path, after=ask.after), ask.limit + 1))

        found = await asyncio.to_thread(listed)
        shown = found[: ask.limit]
        return Listed(
            files=tuple(_file(name, entry) for name, entry in shown),
            next=shown[-1][0] if len(found) > len(shown) else None,
            saved_at=opened.record.created_at,
            generation=opened.record.generation,
        )

    async def _get(self, ask: Get, teller: Teller) -> None:
        opened = await self._open(ask.checkpoint_id)
        path = _path(ask.path)
        entry = await asyncio.to_thread(find, opened.tree, path)
        if entry.kind is not Kind.FILE:
            raise _WrongQuestionError(f"{os.fsdecode(path)!r} is no file: it is {named(entry)}.")
        pieces = read_content(opened.source, entry)
        piece = await anext(pieces, None)  # what is wrong with its beginning is said before
        await teller.tell(Head(name=path.rpartition(b"/")[2], size_bytes=entry.size_bytes))
        while piece is not None:
            if isinstance(piece, int):
                await teller.tell(Hole(length_bytes=piece))
            else:
                view = memoryview(piece)
                for start in range(0, len(view), PIECE_BYTES):
                    await teller.data(view[start : start + PIECE_BYTES])
            piece = await anext(pieces, None)
        await teller.tell(End())

    async def _open(self, checkpoint_id: CheckpointId) -> _Opened:
        """Return the newest generation that can be read; what is open is taken if it is that."""
        places = await self._repository.places(checkpoint_id)
        opened = self._opened.pop(checkpoint_id, None)
        if opened is None or opened.record.place not in places[:1]:
            records = await self._repository.records(checkpoint_id)
            if records.newest is None:
                raise records.damaged[0] if records.damaged else _GoneError(_GONE)
            source = await self._repository.chunks(records.newest)
            tree = self._repository.tree(records.newest, source)
            opened = _Opened(records.newest, source, tree)
        self._opened[checkpoint_id] = opened
        while len(self._opened) > OPENED_MAX:
            del self._opened[next(iter(self._opened))]
        return opened


def _path(written: bytes) -> bytes:
    try:
        return path_from(os.fsdecode(written))
    except NoContentError as error:
        raise _WrongQuestionError(str(error)) from None


class _WrongQuestionError(NoContentError):
    """It can't be answered, whatever the checkpoint holds."""


class _GoneError(NoContentError):
    """The whole checkpoint isn't there."""


class _Counted:
    """Knows whether anything was told."""

    def __init__(self, teller: Teller) -> None:
        self._teller = teller
        self.told = False

    async def tell(self, value: msgspec.Struct) -> None:
        self.told = True
        await self._teller.tell(value)

    async def data(self, piece: bytes | memoryview) -> None:
        self.told = True
        await self._teller.data(piece)


def refusal(error: Exception, path: bytes) -> Refused:
    """Return what is said of an expected failure. Pure."""
    where = os.fsdecode(path).encode(errors="backslashreplace").decode() or "/"
    match error:
        case _WrongQuestionError():
            return Refused(trouble=Trouble.WRONG, sentence=_text(str(error)))
        case NoContentError():
            return Refused(trouble=Trouble.MISSING, sentence=_text(str(error)))
        case NoRepositoryError():
            return Refused(trouble=Trouble.MISSING, sentence=_GONE)
        case DamagedError():
            return Refused(
                trouble=Trouble.DAMAGED,
                sentence=f"“{where}” can’t be read, because storage is damaged "
                f"({_text(str(error))}): take an older checkpoint, which may have it whole.",
            )
        case NotThereError():
            return Refused(
                trouble=Trouble.AWAY,
                sentence="A newer state of the files has just replaced this one: try again.",
            )
        case StorageError() if not error.retry_helps:
            return Refused(trouble=Trouble.AWAY, sentence=_text(str(error)))
        case OSError():
            reason = error.strerror or str(error)
            return Refused(trouble=Trouble.AWAY, sentence=f"Storage can’t be read: {reason}.")
        case _:
            return Refused(trouble=Trouble.AWAY, sentence=_text(str(error)))


def _text(sentence: str) -> str:
    """Return it without what is no text: names of files may hold anything."""
    return sentence.encode(errors="backslashreplace").decode()


def _file(name: bytes, entry: Entry) -> File:
    return File(
        name=name,
        kind=entry.kind.name.lower().replace("_", "-"),
        size_bytes=entry.size_bytes if entry.kind is Kind.FILE else 0,
        mode=entry.mode,
        user=entry.user,
        group=entry.group,
        modified_ns=entry.modified_ns,
        target=entry.content.path if isinstance(entry.content, Target) else b"",
    )


async def _serve(pipes: storage_worker.Pipes, opened: Repository | Exception) -> None:
    if isinstance(opened, Exception) and not isinstance(opened, _EXPECTED):
        raise opened
    reading = Reading(opened) if isinstance(opened, Repository) else None
    while True:
        ask = decode_ask(await pipes.next())
        if reading is None:
            assert isinstance(opened, Exception)
            await pipes.tell(refusal(opened, ask.path))
            return  # the next one tries again
        await reading.answer(ask, pipes)


def main() -> None:
    storage_worker.run("studios-browsing", _serve)
