"""Sessions' files as the kernel shows them: a volume over what was restored, over an image."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from checkpoints.reading.restore import restore
from tests.support.checkpoint_rig import GONE, Thing, seen
from tests.support.growing_folder import GrowingFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checkpoints.format.record import Record
    from checkpoints.repository import Repository

OVERLAY_OPTIONS = "redirect_dir=off,metacopy=off,index=off,nfs_export=off,xino=off"
"""As sessions have them."""


@contextmanager
def overlay(
    root: Path, lowers: list[Path], upper: Path | None = None, work: Path | None = None
) -> Iterator[None]:
    """Mount layers, topmost first, as a session has them; without `upper`, nobody writes."""
    layers = ":".join(str(lower) for lower in lowers if lower.exists())
    options = f"{OVERLAY_OPTIONS},lowerdir={layers}"
    if upper is not None:
        options += f",upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", root], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", root], check=True)


class GrowingRoot(GrowingFolder):
    """Through an overlay: folders of the layers below can't be renamed."""

    def _rename(self) -> None:
        try:
            super()._rename()
        except OSError:
            return


async def restored_over(image: Path, found: Repository, record: Record, folder: Path) -> None:
    """Restore a generation as a layer over an image, without deletions that hide nothing.

    Where only one layer has a folder, the kernel lists its names as they are, deletions, too.
    """
    await restore(found, record, folder)
    for path, thing in seen(folder).items():
        relative = os.fsdecode(path)
        if thing == GONE and not _has(image, folder, relative):
            above = (folder / relative).parent
            status = above.lstat()
            (folder / relative).unlink()
            os.utime(above, ns=(status.st_atime_ns, status.st_mtime_ns))


def _has(image: Path, folder: Path, path: str) -> bool:
    """Return whether the image's name would show, if the layer over it had no deletion there."""
    for above in Path(path).parents[:-1]:
        if "trusted.overlay.opaque" in os.listxattr(folder / above):
            return False
        if (image / above).is_symlink() or not (image / above).is_dir():
            return False
    return os.path.lexists(image / path)


def alike(things: dict[bytes, Thing]) -> dict[bytes, Thing]:
    """A file of a lower layer keeps its number of names when one of them was copied up."""
    return {
        path: thing._replace(names=thing.names if len(thing.names) > 1 else ())
        for path, thing in things.items()
    }
