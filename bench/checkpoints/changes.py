"""What a user does between two checkpoints: 10 MB written among 200 000 files."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from bench.checkpoints.data import (
    LARGE_BYTES,
    LARGE_NAME,
    MANY_FOLDERS,
    MANY_IN_FOLDER,
    many_folder,
)

if TYPE_CHECKING:
    from pathlib import Path

REWRITTEN, _REWRITTEN_BYTES = 90, 40_000
ADDED, _ADDED_BYTES = 10, 40_000
REMOVED = 10
WRITTEN_BYTES = LARGE_BYTES + REWRITTEN * _REWRITTEN_BYTES + ADDED * _ADDED_BYTES


def change(folder: Path, number: int) -> tuple[bytes, ...]:
    """Do it for the `number`th time; return the paths of all that was touched.

    What is written can't be compressed, and was nowhere before. Of what is added or removed, the
    folder is touched, too.
    """
    rng = random.Random(number)
    touched = {folder / LARGE_NAME}
    (folder / LARGE_NAME).write_bytes(rng.randbytes(LARGE_BYTES))
    chosen = rng.sample(range(MANY_FOLDERS), REWRITTEN + ADDED + REMOVED)
    for place in chosen[:REWRITTEN]:
        # The first file of a folder is never removed.
        path = many_folder(folder, place) / "module0.py"
        path.write_bytes(rng.randbytes(_REWRITTEN_BYTES))
        touched.add(path)
    for place in chosen[REWRITTEN:-REMOVED]:
        path = many_folder(folder, place) / f"added{number}.py"
        path.write_bytes(rng.randbytes(_ADDED_BYTES))
        touched |= {path, path.parent}
    for place in chosen[-REMOVED:]:
        path = many_folder(folder, place) / f"module{1 + number % (MANY_IN_FOLDER - 1)}.py"
        path.unlink(missing_ok=True)
        touched |= {path, path.parent}
    return tuple(sorted(os.fsencode(path.relative_to(folder)) for path in touched))
