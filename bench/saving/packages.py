"""What users install: a wheel and Debian packages, put together again from what is installed here.

Of the same content everywhere would be better, but nothing made up compresses as software does, and
a benchmark that fetches something measures the way there.
"""

from __future__ import annotations

import os
import shutil
import subprocess  # noqa: TID251 - dpkg answers at once, before anything is measured
import zipfile
from importlib.metadata import MetadataPathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from bench.processes import BenchError, find_program

if TYPE_CHECKING:
    from collections.abc import Iterable

WHEEL = "babel"
"""1 000 files of 30 MB, no dependencies; JupyterLab brings it."""
PACKAGES = ("git", "restic", "zstd")
"""70 MB, and whoever runs benchmarks has them."""
_SITE = Path("/opt/studios/jupyterlab/lib")
_LATER = "+bench"
_CONTROL = ("Architecture", "Depends", "Pre-Depends", "Multi-Arch", "Section", "Priority")


def write_wheel(folder: Path) -> Path:
    """Put the wheel of an installed package together; return its path."""
    places = [str(path) for path in _SITE.glob("python3*/site-packages")]
    found = next(iter(MetadataPathFinder.find_distributions(_context(places))), None)
    if found is None or found.files is None:
        raise BenchError(f"JupyterLab came without {WHEEL}: run scripts/install")
    path = folder / f"{WHEEL}-{found.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file in found.files:
            if file.parts[0] != ".." and file.suffix != ".pyc" and file.name != "INSTALLER":
                wheel.write(file.locate(), str(file))
    return path


def write_packages(folder: Path) -> tuple[Path, ...]:
    """Put installed packages together as later versions, without their scripts."""
    return tuple(_package(folder, name) for name in PACKAGES)


def _context(places: list[str]) -> MetadataPathFinder.Context:
    return MetadataPathFinder.Context(name=WHEEL, path=places)


def _package(folder: Path, name: str) -> Path:
    tree = folder / name
    about = tree / "DEBIAN"
    about.mkdir(parents=True)
    for path in _says("dpkg-query", "--listfiles", name).splitlines():
        _copy(Path(path), tree / path.lstrip("/"))
    fields = {field: _field(name, field) for field in _CONTROL}
    version = _field(name, "Version") + _LATER
    fields = {"Package": name, "Version": version} | fields
    fields |= {"Maintainer": "bench", "Description": "for a benchmark"}
    control = [f"{field}: {value}\n" for field, value in fields.items() if value]
    (about / "control").write_text("".join(control), encoding="utf-8")
    kept = [line.split()[0] for line in _field(name, "Conffiles").splitlines() if line.strip()]
    (about / "conffiles").write_text("".join(f"{path}\n" for path in kept), encoding="utf-8")
    package = folder / f"{name}.deb"
    _says("dpkg-deb", "--build", "--root-owner-group", "-Znone", str(tree), str(package))
    shutil.rmtree(tree)
    return package


def _copy(path: Path, there: Path) -> None:
    if path.is_symlink():
        there.symlink_to(os.readlink(path))
    elif path.is_dir():
        there.mkdir(exist_ok=True)
    elif path.exists():  # an image may have been stripped of manuals
        shutil.copy2(path, there)


def _field(package: str, name: str) -> str:
    return _says("dpkg-query", "--show", f"--showformat=${{{name}}}", package).strip()


def _says(program: str, *words: str) -> str:
    command: Iterable[str] = (find_program(program), *words)
    done = subprocess.run(tuple(command), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{program} {words[0]} failed: {done.stderr.strip()[-500:]}")
    return done.stdout
