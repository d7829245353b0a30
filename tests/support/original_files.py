"""Files that a snapshot is made of, what may become of them afterwards, and who reads them."""

from __future__ import annotations

import mmap
import os
import random
import shutil
from collections import Counter
from typing import TYPE_CHECKING

from checkpoints.writing import originals
from checkpoints.writing.batch import LARGE_FILE_BYTES
from checkpoints.writing.chunking import read_fully
from tests.support.file_operations import (
    KEEP_SIZE,
    PUNCH_HOLE,
    ZERO,
    allocate,
    clone,
    clone_range,
    forgo_copy_on_write,
    keeps_copy_on_write,
    write_mapped,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MB = 1024**2
SIZES = {"small": 5000, "middle": 300_000, "large": LARGE_FILE_BYTES + 3 * MB + 17}
"""Read at once, in a window, and piece by piece."""
TINY = 1500
"""In the file system's trees."""
PIECES = originals.EXTENTS_MAX + 2
PIECE_BYTES = 8192


def fill(folder: Path) -> None:
    """Make files of every kind that matters here, each with content of its own."""
    folder.mkdir()
    for number, (name, size) in enumerate(SIZES.items()):
        (folder / name).write_bytes(random.Random(number).randbytes(size))
    (folder / "tiny").write_bytes(random.Random(4).randbytes(TINY))
    for name in SIZES:
        clone_to(folder / name, folder / f"{name} clone")
    (folder / "another").write_bytes(random.Random(5).randbytes(10_000))
    for name in ("in place", "another in place"):
        (folder / name).touch()
        forgo_copy_on_write(folder / name)
        (folder / name).write_bytes(random.Random(6).randbytes(200_000))
    with (folder / "holes").open("wb") as file:
        for at in (0, 50_000, 1_000_000):
            file.seek(at)
            file.write(random.Random(at).randbytes(20_000))
        file.truncate(2 * MB)
    (folder / "allocated").touch()
    allocate(folder / "allocated", 0, 100_000)
    with (folder / "allocated").open("r+b") as file:
        file.write(random.Random(7).randbytes(20_000))
    with (folder / "pieces").open("wb") as file:
        for number in range(PIECES):
            file.seek((number * 7) % PIECES * PIECE_BYTES)
            file.write(random.Random(number).randbytes(PIECE_BYTES))
            os.fsync(file.fileno())


def clone_to(source: Path, target: Path) -> None:
    target.touch()
    clone(source, target)


def overwrite(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(4100)
        opened.write(b"other")


def overwrite_and_sync(file: Path) -> None:
    overwrite(file)
    os.sync()


def overwrite_directly(file: Path) -> None:
    fd = os.open(file, os.O_RDWR | os.O_DIRECT)
    try:
        with mmap.mmap(-1, 4096) as page:
            page[:] = b"d" * 4096
            os.pwritev(fd, [page], 0)
    finally:
        os.close(fd)


def rewrite(file: Path) -> None:
    size = file.stat().st_size
    file.write_bytes(b"r" * size)


def cut_short_and_lengthened(file: Path) -> None:
    size = file.stat().st_size
    os.truncate(file, 100)
    os.truncate(file, size)


def clone_of_another(file: Path) -> None:
    another = "another" if keeps_copy_on_write(file) else "another in place"
    other = file.with_name(another)
    overwrite(other)
    clone_range(other, file, at=0, length=8192)


CONTENT: dict[str, Callable[[Path], None]] = {
    "overwritten": overwrite,
    "overwritten and synced": overwrite_and_sync,
    "overwritten directly": overwrite_directly,
    "overwritten as a whole": rewrite,
    "written through memory": lambda file: write_mapped(file, b"mapped", 300),
    "cut short and lengthened": cut_short_and_lengthened,
    "punched": lambda file: allocate(file, 0, 4096, PUNCH_HOLE | KEEP_SIZE),
    "zeroed": lambda file: allocate(file, 0, 4096, ZERO),
    "a range is a clone": clone_of_another,
}
"""With the same size as before."""


def append(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b"more")


def replace_by_a_copy(file: Path) -> None:
    copy = file.with_name("copy")
    shutil.copy2(file, copy)
    copy.rename(file)


def replace_by_a_link(file: Path) -> None:
    file.unlink()
    file.symlink_to("tiny")


def replace_by_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


NAMES: dict[str, Callable[[Path], None]] = {
    "appended to": append,
    "cut short": lambda file: os.truncate(file, 10),
    "removed": lambda file: file.unlink(),
    "a copy": replace_by_a_copy,
    "another": lambda file: os.rename(file.with_name("another"), file),
    "a link": replace_by_a_link,
    "a folder": replace_by_a_folder,
    "other rights": lambda file: file.chmod(0o600),
    "an attribute": lambda file: os.setxattr(file, "user.a", b"b"),
}


class Reads:
    """Stands where `read_fully` does."""

    def __init__(self) -> None:
        self.live: Counter[str] = Counter()
        """Bytes by name that came from live files, of use or not."""
        self.copied: Counter[str] = Counter()
        """And from the snapshot."""
        self.before: Callable[[str], None] = lambda _: None
        """Called with a name when its original is about to be read."""
        self.after: Callable[[str], None] = lambda _: None

    def __call__(self, fd: int, offset: int, length: int) -> bytes:
        path = os.readlink(f"/proc/self/fd/{fd}")
        name = os.path.basename(path.removesuffix(" (deleted)"))
        if "/active/" not in path:
            data = read_fully(fd, offset, length)
            self.copied[name] += len(data)
            return data
        self.before(name)
        data = read_fully(fd, offset, length)
        self.live[name] += len(data)
        self.after(name)
        return data
