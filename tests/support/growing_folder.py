"""A folder that changes at random, and says which paths each change has touched.

It says no more than it must: of what is new, gone or moved, only the folders that it was or is in.
"""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

NAMES = ("a", "a.b", "a-b", "b", "c\x01", "ü", "d")


VERBS = (
    *(4 * ("write",)),
    *(3 * ("mkdir",)),
    *(2 * ("rewrite", "remove")),
    *("rename", "rename_over", "link", "chmod", "attribute", "symlink", "replace"),
)


class GrowingFolder:
    """Its changes are those that checkpoints have to see: contents, names, links, attributes."""

    verbs: tuple[str, ...] = VERBS

    def __init__(self, root: Path, rng: random.Random) -> None:
        self.root = root
        self.touched: set[bytes] = set()
        """Since it was last cleared: whose inode a change has gone through."""
        self._rng = rng

    def change(self) -> str:
        """Do something, and return what."""
        verb = self._rng.choice(self.verbs)
        act: Callable[[], None] = getattr(self, f"_{verb}")
        act()
        return verb

    def _write(self) -> None:
        path = self._new()
        if path is not None:
            path.write_bytes(self._rng.randbytes(self._rng.choice([0, 5, 192, 193, 5000])))
            self._touch(path.parent)

    def _mkdir(self) -> None:
        path = self._new()
        if path is not None:
            path.mkdir()
            self._touch(path.parent)

    def _symlink(self) -> None:
        path = self._new()
        if path is not None:
            path.symlink_to("somewhere")
            self._touch(path.parent)

    def _rewrite(self) -> None:
        """Other content of the same length and time: nothing but the inode's own time tells."""
        path = self._some(lambda path: path.is_file() and not path.is_symlink())
        if path is not None:
            status = path.stat()
            path.write_bytes(self._rng.randbytes(status.st_size))
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
            self._touch(*self._all_names(path))

    def _chmod(self) -> None:
        path = self._some(lambda path: not path.is_symlink())
        if path is not None:
            path.chmod(self._rng.choice([0o600, 0o755, 0o4711]))
            self._touch(*self._all_names(path))

    def _attribute(self) -> None:
        path = self._some(_has_attributes)
        if path is not None:
            os.setxattr(path, "user.note", self._rng.randbytes(4))
            self._touch(*self._all_names(path))

    def _link(self) -> None:
        path = self._some(lambda path: path.is_file() and not path.is_symlink())
        other = self._new()
        if path is not None and other is not None:
            os.link(path, other)
            self._touch(other.parent, *self._all_names(other))

    def _remove(self) -> None:
        path = self._some(lambda path: path != self.root)
        if path is not None:
            self._forget(path)

    def _rename(self) -> None:
        path = self._some(lambda path: path != self.root)
        other = self._new()
        if path is not None and other is not None and path not in other.parents:
            path.rename(other)
            self._touch(path.parent, other.parent)
            self._touch(*(name for name in self._all_names(other) if name != other))

    def _rename_over(self) -> None:
        """Another file under a name that was there, and nobody has touched either's content."""
        path, other = (
            self._some(lambda path: path.is_file() and not path.is_symlink()) for _ in range(2)
        )
        if path is None or other is None or path.samefile(other):
            return
        names = {*self._all_names(path), *self._all_names(other)} - {path, other}
        path.rename(other)
        self._touch(path.parent, other.parent, *names)

    def _replace(self) -> None:
        """A folder for a file, or the other way round, under the same name."""
        path = self._some(lambda path: path != self.root)
        if path is not None:
            was_folder = path.is_dir() and not path.is_symlink()
            self._forget(path)
            if was_folder:
                path.write_bytes(b"once a folder")
            else:
                path.mkdir()
                (path / "inside").write_bytes(b"once a file")
            self._touch(path.parent)

    def _forget(self, path: Path) -> None:
        """Remove it; the other names of what is in it have an inode less linked."""
        below = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
        others = [name for each in below for name in self._all_names(each)]
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        self._touch(path.parent, *others)

    def _everything(self) -> list[Path]:
        return [self.root, *sorted(self.root.rglob("*"))]

    def _some(self, fits: Callable[[Path], bool]) -> Path | None:
        found = [path for path in self._everything() if fits(path)]
        return self._rng.choice(found) if found else None

    def _new(self) -> Path | None:
        folder = self._some(lambda path: path.is_dir() and not path.is_symlink())
        if folder is None:
            return None
        path = folder / self._rng.choice(NAMES)
        return None if os.path.lexists(path) else path

    def _all_names(self, path: Path) -> list[Path]:
        inode = path.lstat().st_ino
        return [other for other in self._everything() if other.lstat().st_ino == inode]

    def _touch(self, *paths: Path) -> None:
        for path in paths:
            relative = os.fsencode(path.relative_to(self.root))
            self.touched.add(b"" if relative == b"." else relative)


class GrowingVolume(GrowingFolder):
    """As the upper folder of an overlay: with deletions, and opaque folders."""

    verbs: tuple[str, ...] = (*VERBS, *(3 * ("delete", "toggle_opaque", "copy_up")), "remove")

    def __init__(self, root: Path, rng: random.Random, base: Path) -> None:
        super().__init__(root, rng)
        self._base = base

    def _delete(self) -> None:
        path = self._new()
        if path is not None:
            os.mknod(path, stat.S_IFCHR, 0)
            self._touch(path.parent)

    def _toggle_opaque(self) -> None:
        path = self._some(lambda path: path.is_dir() and not path.is_symlink())
        if path is None or path == self.root:
            return
        if b"trusted.overlay.opaque" in map(os.fsencode, os.listxattr(path)):
            os.removexattr(path, "trusted.overlay.opaque")
        else:
            os.setxattr(path, "trusted.overlay.opaque", b"y")
        self._touch(path)

    def _copy_up(self) -> None:
        """Make some folder that the base has, and those above it."""
        paths = sorted(self._base.rglob("*"))
        folders = [path for path in paths if path.is_dir() and not path.is_symlink()]
        if not folders:
            return
        at = self.root
        for name in self._rng.choice(folders).relative_to(self._base).parts:
            at /= name
            if not os.path.lexists(at):
                at.mkdir()
                self._touch(at.parent)
            elif at.is_symlink() or not at.is_dir():
                return


def _has_attributes(path: Path) -> bool:
    return not path.is_symlink() and (path.is_file() or path.is_dir())
