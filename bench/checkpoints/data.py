"""Trees of files, the same each time: `python -m bench.checkpoints.data NAME FOLDER`.

`mixed` is what a user of JupyterLab has after a while: a Python environment, which is a copy of the
machine's own JupyterLab and so compresses as software does; and notebooks, tables, arrays and
pictures, made from a seed. `many` and `million` are about names, not bytes.
"""

from __future__ import annotations

import base64
import json
import random
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.lab import lab

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SEED = 4
MIXED, MANY, MILLION = "mixed", "many", "million"

NOTEBOOKS = 150
_CELLS = 20
TABLES, _TABLE_ROWS = 8, 120_000  # 5 MB each
ARRAYS_BYTES = (200_000_000, 200_000_000, *(5_000_000,) * 8)
PICTURES, _PICTURE_BYTES = 30, 5_000_000

MANY_FOLDERS, MANY_IN_FOLDER = 2_000, 100
_MANY_BYTES_MEAN, _MANY_BYTES_MAX = 2_000, 60_000
LARGE_NAME, LARGE_BYTES = "model.bin", 6_000_000
"""Among the many, one that is not small."""

MILLION_FOLDERS, MILLION_IN_FOLDER = 5_000, 200
_MILLION_EMPTY = 10  # one in so many has content

_WORDS = """
axis batch column data error figure frame group import index label layer line list loss mean model
name node number path plot point predict print range result return sample score self series shape
size sort split state step sum table target test time title train tuple type update value vector
weight width window with yield zero
""".split()  # noqa: SIM905 - a list would take a line for each


def write_mixed(folder: Path) -> None:
    """Write 25 000 files of 1.2 GB."""
    rng = random.Random(_SEED)
    environment = Path(lab().command[0]).resolve().parent
    shutil.copytree(environment, folder / "environment", symlinks=True)
    for name in ("notebooks", "tables", "arrays", "pictures"):
        (folder / name).mkdir()
    for number in range(NOTEBOOKS):
        (folder / f"notebooks/analysis {number}.ipynb").write_text(_notebook(rng))
    for number in range(TABLES):
        (folder / f"tables/measured{number}.csv").write_text(_table(rng))
    for number, size in enumerate(ARRAYS_BYTES):
        (folder / f"arrays/weights{number}.bin").write_bytes(_array(rng, size))
    for number in range(PICTURES):
        (folder / f"pictures/{number:03}.jpg").write_bytes(rng.randbytes(_PICTURE_BYTES))


def _notebook(rng: random.Random) -> str:
    """Return cells of code, each with a line of text and a picture that came of it."""
    cells = [
        {
            "cell_type": "code",
            "execution_count": number,
            "metadata": {},
            "source": [f"{_words(rng, 9)}\n" for _ in range(rng.randrange(2, 20))],
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": [_words(rng, 30)]},
                {
                    "output_type": "display_data",
                    "metadata": {},
                    "data": {"image/png": base64.b64encode(rng.randbytes(15_000)).decode()},
                },
            ],
        }
        for number in range(_CELLS)
    ]
    return json.dumps(
        {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1
    )


def _words(rng: random.Random, count: int) -> str:
    return " ".join(rng.choices(_WORDS, k=count))


def _table(rng: random.Random) -> str:
    lines = ["id,group,label,value,score"]
    for number in range(_TABLE_ROWS):
        label = _WORDS[int(rng.random() * len(_WORDS))]
        lines.append(f"{number},{number % 7},{label},{rng.random():.6f},{rng.random() * 100:.2f}")
    return "\n".join(lines)


def _array(rng: random.Random, size_bytes: int) -> bytes:
    """Return what 32 bit numbers around 0 look like: the first of their bytes are much alike."""
    values = bytearray(rng.randbytes(size_bytes))
    exponents = bytes((0xBB, 0x3B, 0x3C, 0xBC, 0x3D, 0xBD)[each % 6] for each in range(256))
    values[3::4] = values[3::4].translate(exponents)
    return bytes(values)


def write_many(folder: Path) -> None:
    """Write 200 000 files of source code's length, 0.4 GB, and one of 6 MB."""
    rng = random.Random(_SEED)
    text = "\n".join(_words(rng, rng.randrange(1, 14)) for _ in range(100_000)).encode()
    for folder_number in range(MANY_FOLDERS):
        within = many_folder(folder, folder_number)
        within.mkdir(parents=True)
        for number in range(MANY_IN_FOLDER):
            size = min(int(rng.expovariate(1 / _MANY_BYTES_MEAN)), _MANY_BYTES_MAX)
            start = rng.randrange(len(text) - size)
            head = b"%d.%d\n" % (folder_number, number)
            (within / f"module{number}.py").write_bytes(head + text[start : start + size])
    (folder / LARGE_NAME).write_bytes(rng.randbytes(LARGE_BYTES))


def many_folder(folder: Path, number: int) -> Path:
    return folder / f"project{number // 50}" / f"package{number % 50}"


def write_million(folder: Path) -> None:
    """Write a million files, most of them empty."""
    for folder_number in range(MILLION_FOLDERS):
        within = folder / f"part{folder_number // 100}" / f"shard{folder_number}"
        within.mkdir(parents=True)
        for number in range(MILLION_IN_FOLDER):
            with (within / f"sample-{folder_number:05}-{number:05}.json").open("wb") as file:
                if number % _MILLION_EMPTY == 0:
                    file.write(b'{"id": %d, "of": %d}' % (number, folder_number))


WRITERS: dict[str, Callable[[Path], None]] = {
    MIXED: write_mixed,
    MANY: write_many,
    MILLION: write_million,
}


def main(arguments: Sequence[str]) -> None:
    name, folder = arguments
    Path(folder).mkdir()
    WRITERS[name](Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
