"""The layer of an OCI image, into a folder in upper form: what `export` made, or somebody else.

A layer is read once from its beginning to its end. It may name a folder after what is in it, or not
at all, and the same thing twice, in which case the later one counts. Names are as little trusted as
those of trees.
"""

from __future__ import annotations

import os
import stat
import tarfile
from contextlib import suppress
from typing import IO, TYPE_CHECKING

import zstandard

from checkpoints.reading.attributes import drop_access_rules, give_to_name, give_to_open
from checkpoints.reading.failures import RestoreError, translated
from checkpoints.reading.folders import OPEN_FLAGS, Folders
from checkpoints.reading.layer import DELETED, OPAQUE
from checkpoints.reading.making import (
    CREATE_FLAGS,
    TYPES,
    UNFINISHED_MODE,
    WHITEOUT,
    unknown_folder,
)
from checkpoints.reading.tar_headers import ATTRIBUTE, parse_time
from checkpoints.tree.entry import MODE_MAX, Device, Entry, Kind, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedReader
    from pathlib import Path

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_PIECE_BYTES = 1 << 20
_ZEROS = bytes(_PIECE_BYTES)
_KINDS = {
    tarfile.SYMTYPE: Kind.SYMBOLIC_LINK,
    tarfile.CHRTYPE: Kind.CHARACTER_DEVICE,
    tarfile.BLKTYPE: Kind.BLOCK_DEVICE,
    tarfile.FIFOTYPE: Kind.FIFO,
    tarfile.DIRTYPE: Kind.FOLDER,
}


def unpack_layer(
    layer: BufferedReader, folder: Path, *, report: Callable[[int], None] = lambda _: None
) -> int:
    """Make in an empty folder what a layer says; return how many entries it had. Blocks.

    The layer is a tar archive as it is, or compressed with gzip or zstd. Raises RestoreError.
    """
    root_fd = os.open(folder, OPEN_FLAGS)
    try:
        drop_access_rules(root_fd)
        with Folders(root_fd) as folders:
            unpacking = _Unpacking(folders)
            count = 0
            try:
                for archive, member in _members(layer):
                    unpacking.take(archive, member)
                    count += 1
                    report(count)
            except (tarfile.TarError, zstandard.ZstdError, EOFError) as error:
                raise RestoreError(f"The layer can't be read: {error}.") from error
            unpacking.finish()
            return count
    finally:
        os.close(root_fd)


def _members(layer: BufferedReader) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    stream: IO[bytes] = layer
    if layer.peek(len(_ZSTD_MAGIC)).startswith(_ZSTD_MAGIC):
        stream = zstandard.ZstdDecompressor().stream_reader(layer, read_across_frames=True)
    with tarfile.open(fileobj=stream, mode="r|*", errors="surrogateescape") as archive:
        for member in archive:
            yield archive, member
            archive.members.clear()  # type: ignore[attr-defined]  # it keeps all of them otherwise


class _Unpacking:
    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._made: dict[bytes, Entry] = {}
        """Folders, completed at the end."""
        self._opaque: set[bytes] = set()

    def take(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = _path(member.name)
        try:
            self._take(archive, member, path)
        except OSError as error:
            raise translated(error, path, "unpacked") from error

    def finish(self) -> None:
        for path, entry in self._made.items():
            try:
                fd = self._folders.open(path)
                give_to_open(fd, entry)
                if path in self._opaque:
                    os.setxattr(fd, b"trusted.overlay.opaque", b"y")
                    os.utime(fd, ns=(entry.modified_ns, entry.modified_ns))
            except OSError as error:
                raise translated(error, path, "completed") from error

    def _take(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: bytes) -> None:
        folder, _, name = path.rpartition(b"/")
        if path:
            self._need_folder(folder)
        if name == OPAQUE:
            self._opaque.add(folder)
        elif name.startswith(DELETED):
            at = self._replace(folder, name.removeprefix(DELETED))
            os.mknod(name.removeprefix(DELETED), stat.S_IFCHR, WHITEOUT, dir_fd=at)
        elif member.isdir():
            self._make_folder(path, _entry(member, Kind.FOLDER))
        elif member.islnk():
            self._link(_path(member.linkname), folder, name)
        elif member.isreg():
            self._make_file(archive, member, self._replace(folder, name), name)
        elif member.type in _KINDS:
            self._make(member, self._replace(folder, name), name)
        else:
            raise RestoreError(f"{member.name!r} is of a kind that layers don't have.")

    def _need_folder(self, path: bytes) -> None:
        missing = []
        while path and path not in self._made:
            missing.append(path)
            path = path.rpartition(b"/")[0]
        for each in reversed(missing):
            self._make_folder(each, unknown_folder())

    def _make_folder(self, path: bytes, entry: Entry) -> None:
        if path and path not in self._made:
            folder, _, name = path.rpartition(b"/")
            os.mkdir(name, UNFINISHED_MODE | stat.S_IXUSR, dir_fd=self._replace(folder, name))
        self._made[path] = entry

    def _make_file(
        self, archive: tarfile.TarFile, member: tarfile.TarInfo, at: int, name: bytes
    ) -> None:
        fd = os.open(name, CREATE_FLAGS, UNFINISHED_MODE, dir_fd=at)
        try:
            content = archive.extractfile(member)
            assert content is not None
            written = 0
            while piece := content.read(_PIECE_BYTES):
                if piece != _ZEROS[: len(piece)]:
                    os.pwrite(fd, piece, written)
                written += len(piece)
            os.truncate(fd, member.size)
            give_to_open(fd, _entry(member, Kind.FILE))
        finally:
            os.close(fd)

    def _make(self, member: tarfile.TarInfo, at: int, name: bytes) -> None:
        entry = _entry(member, _KINDS[member.type])
        if isinstance(entry.content, Target):
            os.symlink(entry.content.path, name, dir_fd=at)
        else:
            device = entry.content
            number = os.makedev(device.major, device.minor) if isinstance(device, Device) else 0
            os.mknod(name, TYPES[entry.kind] | UNFINISHED_MODE, number, dir_fd=at)
        give_to_name(at, name, entry)

    def _link(self, target: bytes, folder: bytes, name: bytes) -> None:
        source_folder, _, source_name = target.rpartition(b"/")
        source = os.dup(self._folders.open(source_folder))
        try:
            at = self._replace(folder, name)
            os.link(source_name, name, src_dir_fd=source, dst_dir_fd=at, follow_symlinks=False)
        finally:
            os.close(source)

    def _replace(self, folder: bytes, name: bytes) -> int:
        """Return the folder's descriptor, in which there is nothing of this name any more."""
        at = self._folders.open(folder)
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=at)
        return at


def _path(name: str) -> bytes:
    """Return a name as a path of trees, or raise RestoreError."""
    parts = [part for part in os.fsencode(name).split(b"/") if part not in (b"", b".")]
    if b".." in parts or any(b"\0" in part for part in parts):
        raise RestoreError(f"{name!r} leads out of the layer.")
    return b"/".join(parts)


def _entry(member: tarfile.TarInfo, kind: Kind) -> Entry:
    content: Target | Device | None = None
    if kind is Kind.SYMBOLIC_LINK:
        content = Target(path=os.fsencode(member.linkname))
    elif kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE):
        content = Device(major=member.devmajor, minor=member.devminor)
    prefix = ATTRIBUTE.decode()
    time = member.pax_headers.get("mtime")
    return Entry(
        kind=kind,
        mode=member.mode & MODE_MAX,
        user=member.uid,
        group=member.gid,
        modified_ns=parse_time(time) if time else int(member.mtime) * 1_000_000_000,
        attributes=tuple(
            sorted(
                (os.fsencode(name.removeprefix(prefix)), os.fsencode(value))
                for name, value in member.pax_headers.items()
                if name.startswith(prefix)
            )
        ),
        content=content,
    )
