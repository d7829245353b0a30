"""A program for sessions: it does to files any of what programs do, again and again, at random.

`python3 -m tests.support.session_changes SEED COUNT FOLDER…`. Like `session_tree`, it is run by the
session's Python, as root.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.support.session_tree import (
    ACCESS,
    ACL,
    KB,
    KEEP_SIZE,
    MB,
    PUNCH_HOLE,
    allocate,
    rewrite_unseen,
)

_MAY_BE = (FileNotFoundError, NotADirectoryError, FileExistsError, IsADirectoryError)
"""What a change meets where another one has been before it."""


class Changes:
    """Random ones, in some folders. The same seed gives the same in the same folders."""

    def __init__(self, seed: int, tops: list[Path]) -> None:
        self._rng = random.Random(seed)
        self._tops = tops

    def make(self, count: int) -> None:
        doing = [
            self.write, self.write, self.append, self.overwrite, self.rewrite, self.shorten,
            self.lengthen, self.punch, self.remove, self.remove, self.recreate, self.become_other,
            self.rename, self.rename, self.move, self.replace, self.link, self.link, self.mode,
            self.owner, self.time, self.attribute, self.attribute, self.empty, self.refill,
            self.tree,
        ]  # fmt: skip
        paths = self._paths()
        for number in range(count):
            if number % 20 == 0:
                paths = self._paths()
            change = self._rng.choice(doing)
            with suppress(
                FileNotFoundError, NotADirectoryError, FileExistsError, IsADirectoryError
            ):
                change(self._rng.choice(paths), self._rng.choice(paths))

    def _paths(self) -> list[Path]:
        found = []
        for top in self._tops:
            for where, folders, files in os.walk(os.fsencode(top)):
                found += [
                    Path(os.fsdecode(where + b"/" + name)) for name in sorted((*folders, *files))
                ]
        return sorted(found)

    def _new(self, near: Path) -> Path:
        folder = near if near.is_dir() and not near.is_symlink() else near.parent
        while True:
            found = folder / f"made {self._rng.randrange(1000)}"
            if not os.path.lexists(found):  # such as a FIFO, whose opening would wait for ever
                return found

    def _some(self) -> bytes:
        return self._rng.randbytes(self._rng.choice((0, 10, 500, 5000, 300 * KB)))

    def write(self, path: Path, _: Path) -> None:
        self._new(path).write_bytes(self._some())

    def append(self, path: Path, _: Path) -> None:
        if is_file(path):
            with path.open("ab") as file:
                file.write(self._some())

    def overwrite(self, path: Path, _: Path) -> None:
        if is_file(path):
            with path.open("r+b") as file:
                file.seek(self._rng.randrange(path.stat().st_size + 1))
                file.write(self._some()[:20_000])

    def rewrite(self, path: Path, _: Path) -> None:
        if is_file(path) and path.stat().st_size < MB:
            rewrite_unseen(path, self._rng)

    def shorten(self, path: Path, _: Path) -> None:
        if is_file(path):
            os.truncate(path, self._rng.randrange(path.stat().st_size + 1))

    def lengthen(self, path: Path, _: Path) -> None:
        if is_file(path):
            os.truncate(path, path.stat().st_size + self._rng.choice((1, 5000, 50 * MB)))

    def punch(self, path: Path, _: Path) -> None:
        if is_file(path):
            with path.open("r+b") as file:
                allocate(file.fileno(), 4096, 8192, KEEP_SIZE | PUNCH_HOLE)

    def remove(self, path: Path, _: Path) -> None:
        remove(path) if is_small(path) else None

    def recreate(self, path: Path, _: Path) -> None:
        """The same name again, of the same kind."""
        if path.is_dir() and not path.is_symlink():
            if is_small(path):
                remove(path)
                path.mkdir()
                (path / "first").write_bytes(self._some())
        else:
            remove(path)
            path.write_bytes(self._some())

    def become_other(self, path: Path, _: Path) -> None:
        """The same name again, of another kind."""
        if not is_small(path):
            return
        was_folder = path.is_dir() and not path.is_symlink()
        remove(path)
        match self._rng.randrange(3 if was_folder else 4):
            case 0:
                path.write_bytes(self._some())
            case 1:
                path.symlink_to("elsewhere")
            case 2:
                os.mkfifo(path)
            case _:
                tree(path, self._some())

    def rename(self, path: Path, _: Path) -> None:
        move(path, path.with_name(f"renamed {self._rng.randrange(100)}"))

    def move(self, path: Path, other: Path) -> None:
        target = self._new(other)
        if path not in target.parents:
            move(path, target)

    def replace(self, path: Path, other: Path) -> None:
        """As an editor saves."""
        if is_file(path) and not (other.is_dir() and not other.is_symlink()):
            os.replace(path, other)

    def link(self, path: Path, other: Path) -> None:
        if not path.is_dir() or path.is_symlink():
            os.link(path, self._new(other), follow_symlinks=False)

    def mode(self, path: Path, _: Path) -> None:
        if not path.is_symlink():
            path.chmod(self._rng.randrange(0o10000))

    def owner(self, path: Path, _: Path) -> None:
        os.chown(path, self._rng.randrange(70_000), 7, follow_symlinks=False)

    def time(self, path: Path, _: Path) -> None:
        ns = self._rng.randrange(-(2**60), 2**60)
        os.utime(path, ns=(ns, ns), follow_symlinks=False)

    def attribute(self, path: Path, _: Path) -> None:
        """Set one, or remove one that is there."""
        if not (is_file(path) or path.is_dir()) or path.is_symlink():
            return
        names = os.listxattr(path)
        if names and self._rng.random() < 0.5:
            os.removexattr(path, self._rng.choice(sorted(names)))
        else:
            name = self._rng.choice(("user.a", "user.b", ACCESS))
            os.setxattr(path, name, ACL if name == ACCESS else self._rng.randbytes(20))

    def empty(self, path: Path, _: Path) -> None:
        if path.is_dir() and not path.is_symlink() and is_small(path):
            for below in sorted(path.iterdir()):
                remove(below)

    def refill(self, path: Path, _: Path) -> None:
        """As a package is installed again: the folder goes, and comes back with the same names."""
        if path.is_dir() and not path.is_symlink() and is_small(path):
            copy = self._new(path.parent)
            subprocess.run(["cp", "-a", path, copy], check=True)
            remove(path)
            move(copy, path)

    def tree(self, path: Path, _: Path) -> None:
        tree(self._new(path), self._some())


def tree(path: Path, data: bytes) -> None:
    (path / "a/b").mkdir(parents=True)
    for name in ("x", "a/x", "a/b/x"):
        (path / name).write_bytes(data)


def move(path: Path, target: Path) -> None:
    """Move as programs do: folders of a layer below can't be renamed, they are copied."""
    try:
        os.rename(path, target)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EISDIR, errno.EBUSY}:
            return
        if error.errno != errno.EXDEV:
            raise
        if not target.exists():
            subprocess.run(["mv", path, target], check=True)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def is_small(path: Path) -> bool:
    """Say whether so little is below it that its going leaves something to change."""
    if not path.is_dir() or path.is_symlink():
        return True
    return sum(len(folders) + len(files) for _, folders, files in os.walk(path)) < 40


def main(seed: str, count: str, *folders: str) -> None:
    Changes(int(seed), [Path(folder) for folder in folders]).make(int(count))


if __name__ == "__main__":
    main(*sys.argv[1:])
