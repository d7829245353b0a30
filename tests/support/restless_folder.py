"""A folder in which anything may happen that a program can do to files.

Each operation is drawn as a verb and three numbers, which choose among what is there. What the
kernel refuses, where the folder is an overlay, has not happened.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import stat
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import strategies as st

from tests.support.file_operations import (
    EXCHANGE,
    KEEP_SIZE,
    PUNCH_HOLE,
    WHITEOUT,
    ZERO,
    allocate,
    clone,
    clone_range,
    deduplicate,
    forgo_copy_on_write,
    make_unnamed,
    rename,
    rewrite_unseen,
    write_mapped,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = ("a", "a.b", "b", "c\x01", "ü", "d", "long" * 50)
SIZES = (0, 5, 192, 193, 3000, 20_000, 300_000)
DEPTH_MAX = 6

_REFUSALS = {
    errno.EXDEV, errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP, errno.ENOTEMPTY, errno.EISDIR,
    errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.EACCES, errno.ETXTBSY, errno.ENODATA,
    errno.ENOTTY, errno.EBUSY, errno.ESTALE,
}  # fmt: skip


class Operation(NamedTuple):
    """Something that happens."""

    verb: str
    first: int
    second: int
    seed: int


class RestlessFolder:
    """Carries operations out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.done: Counter[str] = Counter()
        """How often each verb was carried out."""
        self._held: list[int] = []

    def carry_out(self, operation: Operation) -> None:
        act: Callable[[Operation], bool] = getattr(self, f"_{operation.verb}")
        try:
            if act(operation):
                self.done[operation.verb] += 1
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
        except shutil.Error:
            pass  # a copy of what can't be copied: some of it is there

    def let_go(self) -> None:
        """Close what is held open."""
        while self._held:
            os.close(self._held.pop())

    # ── Content ──────────────────────────────────────────────────────────────

    def _write(self, drawn: Operation) -> bool:
        path = self._new(drawn) or self._file(drawn.second)
        path.write_bytes(_bytes(drawn))
        return True

    def _fsync(self, drawn: Operation) -> bool:
        path = self._file(drawn.first)
        with path.open("ab") as file:
            file.write(b"x" * (drawn.seed % 3))
            os.fsync(file.fileno())
        return True

    def _overwrite(self, drawn: Operation) -> bool:
        path = self._file(drawn.first)
        with path.open("r+b") as file:
            file.seek(drawn.second % (path.stat().st_size + 1))
            file.write(_bytes(drawn)[:5000])
        return True

    def _rewrite_unseen(self, drawn: Operation) -> bool:
        path = self._file(drawn.first)
        rewrite_unseen(path, random.Random(drawn.seed).randbytes(path.stat().st_size))
        return True

    def _write_mapped(self, drawn: Operation) -> bool:
        path = self._file(drawn.first)
        size = path.stat().st_size
        if size:
            write_mapped(path, b"m", drawn.second % size)
        return size > 0

    def _truncate(self, drawn: Operation) -> bool:
        os.truncate(self._file(drawn.first), SIZES[drawn.second % len(SIZES)] + drawn.seed % 2)
        return True

    def _allocate(self, drawn: Operation) -> bool:
        mode = (0, KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE, ZERO, ZERO | KEEP_SIZE)[drawn.seed % 5]
        allocate(self._file(drawn.first), drawn.second % 100_000, 4096 * (1 + drawn.seed % 7), mode)
        return True

    def _clone(self, drawn: Operation) -> bool:
        one, two = self._file(drawn.first), self._file(drawn.second)
        if drawn.seed % 2 or one.stat().st_size < 8192:
            clone(one, two)
        else:
            clone_range(one, two, at=4096 * (drawn.seed % 5), length=4096)
        return True

    def _deduplicate(self, drawn: Operation) -> bool:
        one, two = self._file(drawn.first), self._file(drawn.second)
        return bool(deduplicate(one, two, min(one.stat().st_size, 4096)))

    def _forgo_copy_on_write(self, drawn: Operation) -> bool:
        path = self._new(drawn)
        if path is None:
            return False
        path.touch()
        forgo_copy_on_write(path)
        path.write_bytes(_bytes(drawn))
        return True

    def _hold(self, drawn: Operation) -> bool:
        """Go on writing to what has no name any more."""
        path = self._file(drawn.first)
        self._held.append(os.open(path, os.O_RDWR))
        path.unlink()
        os.write(self._held[-1], b"nobody sees it")
        return True

    # ── Attributes ───────────────────────────────────────────────────────────

    def _chmod(self, drawn: Operation) -> bool:
        os.chmod(self._any(drawn.first), (0o600, 0o755, 0o4711, 0)[drawn.seed % 4])
        return True

    def _chown(self, drawn: Operation) -> bool:
        os.lchown(self._any(drawn.first), drawn.seed % 3, drawn.second % 3)
        return True

    def _set_times(self, drawn: Operation) -> bool:
        times = (drawn.seed * 10**9, drawn.second % 10**12)
        os.utime(self._any(drawn.first), ns=times, follow_symlinks=False)
        return True

    def _set_attribute(self, drawn: Operation) -> bool:
        name = ("user.note", "trusted.note", "user.other")[drawn.second % 3]
        value = bytes([drawn.seed % 256]) * (drawn.seed % 5 * 50)
        os.setxattr(self._any(drawn.first), name, value, follow_symlinks=False)
        return True

    def _remove_attribute(self, drawn: Operation) -> bool:
        path = self._any(drawn.first)
        for name in os.listxattr(path, follow_symlinks=False):
            if not name.startswith("trusted.overlay."):
                os.removexattr(path, name, follow_symlinks=False)
                return True
        return False

    # ── Names ────────────────────────────────────────────────────────────────

    def _mkdir(self, drawn: Operation) -> bool:
        path = self._new(drawn)
        if path is None or len(path.relative_to(self.root).parts) > DEPTH_MAX:
            return False
        path.mkdir()
        return True

    def _make(self, drawn: Operation) -> bool:
        path = self._new(drawn)
        if path is None:
            return False
        kind = drawn.seed % 5
        if kind == 0:
            path.symlink_to("somewhere")
        elif kind == 1:
            os.mkfifo(path)
        elif kind == 2:
            os.mknod(path, stat.S_IFSOCK)
        else:
            os.mknod(path, stat.S_IFCHR, os.makedev(1, 3) if kind == 3 else 0)
        return True

    def _make_unnamed(self, drawn: Operation) -> bool:
        path = self._new(drawn)
        if path is not None:
            make_unnamed(path.parent, _bytes(drawn), path)
        return path is not None

    def _link(self, drawn: Operation) -> bool:
        path = self._new(drawn)
        if path is not None:
            os.link(self._file(drawn.second), path)
        return path is not None

    def _link_often(self, drawn: Operation) -> bool:
        """So often that the names don't fit into one item."""
        file, folder = self._file(drawn.second), self._folder(drawn.first)
        for number in range(90):
            name = folder / f"{drawn.seed}-{number}{'n' * 190}"
            if not os.path.lexists(name):
                os.link(file, name)
        return True

    def _remove(self, drawn: Operation) -> bool:
        path = self._any(drawn.first)
        if path == self.root:
            return False
        _remove(path)
        return True

    def _make_again(self, drawn: Operation) -> bool:
        """Remove a folder, and make an empty one of its name: it is opaque in an overlay."""
        path = self._folder(drawn.first)
        if path == self.root:
            return False
        _remove(path)
        path.mkdir()
        (path / NAMES[drawn.seed % len(NAMES)]).write_bytes(b"in a new folder")
        return True

    def _rename(self, drawn: Operation) -> bool:
        path, target = self._any(drawn.second), self._new(drawn)
        if target is None or path == self.root:
            return False
        if path not in (target, *target.parents):
            path.rename(target)
        return True

    def _move(self, drawn: Operation) -> bool:
        """As `mv`: what can't be renamed is copied."""
        path, target = self._any(drawn.second), self._new(drawn)
        if target is None or path == self.root or path in (target, *target.parents):
            return False
        try:
            path.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            shutil.move(path, target)
        return True

    def _rename_over(self, drawn: Operation) -> bool:
        self._file(drawn.first).rename(self._file(drawn.second))
        return True

    def _exchange(self, drawn: Operation) -> bool:
        one, two = self._any(drawn.first), self._any(drawn.second)
        if self.root in {one, two} or one in two.parents or two in one.parents:
            return False
        rename(one, two, EXCHANGE)
        return True

    def _rename_with_whiteout(self, drawn: Operation) -> bool:
        path, target = self._any(drawn.second), self._new(drawn)
        if target is None or path == self.root or path in (target, *target.parents):
            return False
        rename(path, target, WHITEOUT)
        return True

    # ── Choosing ─────────────────────────────────────────────────────────────

    def _everything(self) -> list[Path]:
        return [self.root, *sorted(self.root.rglob("*"))]

    def _any(self, number: int) -> Path:
        found = self._everything()
        return found[number % len(found)]

    def _file(self, number: int) -> Path:
        found = [path for path in self._everything() if stat.S_ISREG(path.lstat().st_mode)]
        if not found:
            path = self.root / "file"
            if os.path.lexists(path):  # such as the whiteout that a renaming has left
                _remove(path)
            path.write_bytes(b"the only one")
            return path
        return found[number % len(found)]

    def _folder(self, number: int) -> Path:
        found = [path for path in self._everything() if stat.S_ISDIR(path.lstat().st_mode)]
        return found[number % len(found)]

    def _new(self, drawn: Operation) -> Path | None:
        path = self._folder(drawn.first) / NAMES[drawn.second % len(NAMES)]
        return None if os.path.lexists(path) else path


def _remove(path: Path) -> None:
    if stat.S_ISDIR(path.lstat().st_mode):
        shutil.rmtree(path)
    else:
        path.unlink()


def _bytes(drawn: Operation) -> bytes:
    return random.Random(drawn.seed).randbytes(SIZES[drawn.seed % len(SIZES)])


VERBS = tuple(
    sorted(
        name[1:]
        for name in vars(RestlessFolder)
        if name.startswith("_") and name not in {"_everything", "_any", "_file", "_folder", "_new"}
        and not name.startswith("__")
    )
)  # fmt: skip
OFTEN = (*(4 * ("write",)), *(4 * ("mkdir",)), "rename", "move")
operations = st.builds(
    Operation,
    verb=st.sampled_from((*VERBS, *OFTEN)),
    first=st.integers(0, 2**16),
    second=st.integers(0, 2**16),
    seed=st.integers(0, 2**10),
)
