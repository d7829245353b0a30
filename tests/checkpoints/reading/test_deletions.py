"""Restored over other layers, a deletion is made where it hides something, and nowhere else."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from checkpoints.reading.restore import restore
from tests.support.checkpoint_rig import GONE, repository, seen, writer

if TYPE_CHECKING:
    from pathlib import Path


def deleted(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR, 0)


async def test_only_what_is_seen_below_is_asked_for_and_made(tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    for folder in ("merged", "opaque/inner"):
        (upper / folder).mkdir(parents=True)
    os.setxattr(upper / "opaque", "trusted.overlay.opaque", b"y")
    for name in ("gone", "never", "merged/gone", "merged/never", "opaque/gone", "opaque/inner/x"):
        deleted(upper / name)
    (upper / "opaquer").mkdir()
    deleted(upper / "opaquer/gone")
    os.utime(upper / "opaque", ns=(0, 7))
    found = await repository()
    record = await (await writer(found)).write(upper)
    asked: list[bytes] = []

    def hides(path: bytes) -> bool:
        asked.append(path)
        return path.endswith(b"gone")

    done = await restore(found, record, tmp_path / "restored", hides=hides)
    assert asked == [b"gone", b"never", b"merged/gone", b"merged/never", b"opaquer/gone"]
    assert record.tree is not None
    assert (done.left_out, done.entries) == (4, record.tree.entries - 4)
    left_out = {b"never", b"merged/never", b"opaque/gone", b"opaque/inner/x"}
    expected = {path: thing for path, thing in seen(upper).items() if path not in left_out}
    assert seen(tmp_path / "restored") == expected


async def test_without_anything_below_all_are_made(tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    upper.mkdir()
    deleted(upper / "gone")
    found = await repository()
    record = await (await writer(found)).write(upper)
    done = await restore(found, record, tmp_path / "restored")
    assert done.left_out == 0
    assert seen(tmp_path / "restored")[b"gone"] == GONE
