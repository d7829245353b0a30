"""Content of files, written as it comes from the store, several threads at a time."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from checkpoints.format.codec import decode_in_place
from checkpoints.format.damage import DamagedError
from checkpoints.reading.attributes import give_to_open
from checkpoints.reading.failures import translated
from checkpoints.reading.folders import Folders
from checkpoints.reading.making import CREATE_FLAGS, created_mode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checkpoints.reading.making import File
    from checkpoints.reading.spans import Piece, Span, Wanted
    from checkpoints.storage.storage import Part
    from checkpoints.tree.entry import Entry

_OPEN_FLAGS = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class Contents:
    """Fills files below a folder. Threads share it; blocks."""

    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd
        self._lock = threading.Lock()
        self.damages: dict[bytes, str] = {}
        """Paths of files that could not be completed, and why."""
        self.damaged_inodes: dict[int, str] = {}
        """The same of those with several names."""

    def fill(self, span: Span, stored: Sequence[Part]) -> list[Wanted]:
        """Write what was read of a pack to where it belongs; return what was something else."""
        wrong = []
        with Folders(self._root_fd) as folders:
            for run, part in zip(span.runs, stored, strict=True):
                for wanted, data in run.cut(part):
                    place = wanted.place
                    try:
                        raw = decode_in_place(
                            data, place.codec, raw_bytes=place.raw_bytes, expected=wanted.chunk_id
                        )
                    except DamagedError:
                        wrong.append(wanted)
                    else:
                        self._write_all(folders, wanted, raw)
        return wrong

    def fill_one(self, wanted: Wanted, raw: Part) -> None:
        """Write one chunk, which is what it must be."""
        with Folders(self._root_fd) as folders:
            self._write_all(folders, wanted, raw)

    def expect(self, file: File) -> None:
        """Count one more piece."""
        with self._lock:
            file.left += 1

    def spoil(self, piece: Piece, problem: str) -> None:
        """Let a piece be missing for ever."""
        with Folders(self._root_fd) as folders:
            piece.file.problem = problem
            self.piece_done(folders, piece.file)

    def piece_done(self, folders: Folders, file: File) -> None:
        """Count one of a file's pieces; the last one completes it."""
        with self._lock:
            file.left -= 1
            if file.left:
                return
        at = folders.open(file.folder)
        if file.problem:
            self._drop(at, file)
            return
        try:
            fd = os.open(file.name, _OPEN_FLAGS, dir_fd=at)
            try:
                give_to_open(fd, file.entry)
            finally:
                os.close(fd)
        except OSError as error:
            raise translated(error, file.path, "completed") from error

    def _write_all(self, folders: Folders, wanted: Wanted, raw: Part) -> None:
        for piece in wanted.pieces:
            try:
                self._write(folders, piece, raw)
            except OSError as error:
                raise translated(error, piece.file.path, "written") from error

    def _write(self, folders: Folders, piece: Piece, raw: Part) -> None:
        file = piece.file
        at = folders.open(file.folder)
        if not file.is_made:
            fd = os.open(file.name, CREATE_FLAGS, created_mode(file.entry), dir_fd=at)
            try:
                _write_all(fd, raw, 0)
                give_to_open(fd, file.entry)
            finally:
                os.close(fd)
            return
        fd = os.open(file.name, _OPEN_FLAGS, dir_fd=at)
        try:
            _write_all(fd, raw, piece.offset)
        finally:
            os.close(fd)
        self.piece_done(folders, file)

    def _drop(self, at: int, file: File) -> None:
        """Leave nothing rather than something else than what there was."""
        if file.is_made:
            os.unlink(file.name, dir_fd=at)
        with self._lock:
            self.damages[file.path] = file.problem
            if file.entry.several_names:
                self.damaged_inodes[file.entry.inode] = file.problem

    def drop_name(self, folders: Folders, path: bytes, entry: Entry) -> None:
        """Remove another name of a file that could not be completed."""
        if entry.inode in self.damaged_inodes and path not in self.damages:
            folder, _, name = path.rpartition(b"/")
            os.unlink(name, dir_fd=folders.open(folder))
            self.damages[path] = self.damaged_inodes[entry.inode]


def _write_all(fd: int, raw: Part, offset: int) -> None:
    written = os.pwrite(fd, raw, offset)
    while written < len(raw):
        written += os.pwrite(fd, memoryview(raw)[written:], offset + written)
