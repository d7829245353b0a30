"""What the `files` benchmark unpacks and installs: always the same, of source code's shape."""

from __future__ import annotations

import io
import random
import tarfile
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FILES = 20_000
MODULES = 1_000
_FOLDERS = 1_000
_BYTES_MEAN = 4_000
_BYTES_MAX = 200_000
_FUNCTIONS = 40  # in a module: 4 KB
_NAME = "bench_wheel"
_SEED = 1


def write_archive(path: Path) -> None:
    """Write a tar file of `FILES` files in `_FOLDERS` folders, 4 KB each on the average."""
    rng = random.Random(_SEED)
    blob = rng.randbytes(2 * _BYTES_MAX)
    with tarfile.open(path, "w") as archive:
        for number in range(FILES):
            folder = number % _FOLDERS
            entry = tarfile.TarInfo(f"{folder // 32}/{folder}/file{number}.py")
            entry.size = min(int(rng.expovariate(1 / _BYTES_MEAN)), _BYTES_MAX)
            start = rng.randrange(_BYTES_MAX)
            archive.addfile(entry, io.BytesIO(blob[start : start + entry.size]))


def write_wheel(folder: Path) -> Path:
    """Write a wheel of `MODULES` Python modules; return its path."""
    path = folder / f"{_NAME}-1.0-py3-none-any.whl"
    about = f"{_NAME}-1.0.dist-info"
    files = {f"{_NAME}/module{number}.py": _module(number) for number in range(MODULES)}
    files[f"{about}/METADATA"] = f"Metadata-Version: 2.1\nName: {_NAME}\nVersion: 1.0\n"
    files[f"{about}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{about}/RECORD"] = "".join(f"{name},,\n" for name in (*files, f"{about}/RECORD"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return path


def _module(number: int) -> str:
    return "\n".join(
        f"def function{number}_{index}(first, second={index}):\n"
        f'    """Return something."""\n'
        f"    return [first + each for each in range(second)]\n"
        for index in range(_FUNCTIONS)
    )
