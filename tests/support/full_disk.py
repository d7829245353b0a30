"""A small disk of one's own that a test can fill to the last byte, and free again."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCK_BYTES = 4096


class SmallDisk:
    """A file system in memory, mounted at a folder."""

    def __init__(self, folder: Path) -> None:
        self._others = folder / "others"

    def fill(self) -> None:
        """Have others take all that is free."""
        with self._others.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(_BLOCK_BYTES)):
                pass

    def free(self) -> None:
        """Have them give it back."""
        self._others.unlink()


@contextlib.contextmanager
def small_disk(folder: Path, *, size_bytes: int) -> Iterator[SmallDisk]:
    options = f"size={size_bytes}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "studios-test", str(folder)]
    subprocess.run(mount, check=True)
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
