"""A tool that does what users do; the works of `bench.workbench` are among it.

Sessions don't see the project, so `studio` copies what this needs to where they see it, and all of
that needs nothing but the standard library.
"""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import subprocess  # noqa: TID251 - see above: the project's own ways are not there
import time
from array import array

from bench import workbench

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STAMPS_NAME = "stamps"
WRITE_EVERY_MS, SYNC_EVERY_MS = 1, 10
REWRITTEN, ADDED = 90, 10
"""Files of 40 KB that `change` works on, beside one of 6 MB: 10 MB."""

_MEGA = 1_000_000
_MILLION = 1_000_000
_BLOCK_BYTES = 4096
_RING_BYTES = 4 * _MEGA  # it is written again and again
_LARGE_BYTES, _SMALL_BYTES = 8 * _MEGA, 20_000
_SMALL_FILES = 100
"""With a large file they are 10 MB."""
_CHANGED_BYTES, _CHANGED_LARGE_BYTES = 40_000, 6 * _MEGA
_CELLS, _PICTURE_BYTES = 100, 14_800  # base64 makes 2 MB of it
_COMMITTED_FILES = 20

_PIP = ("/opt/studios/jupyterlab/bin/python", "-m", "pip", "--isolated", "--quiet")
_GIT = ("git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0")
_APT = ("apt-get", "-y", "-q", "-o", "APT::Sandbox::User=root", "-o", "Dpkg::Use-Pty=0")

_writers: list[int] = []
"""Process ids of the programs that write."""


# ── files ────────────────────────────────────────────────────────────────────


def fill(folder: Path, megabytes: str, part: str) -> dict[str, float]:
    """So many megabytes, a fifth of it in small files of text; on the disk when it returns."""
    for number in range(int(megabytes) // 10):
        within = folder / part / str(number)
        within.mkdir(parents=True)
        (within / "measured.bin").write_bytes(os.urandom(_LARGE_BYTES))
        for each in range(_SMALL_FILES):
            text = os.urandom(_SMALL_BYTES // 2).hex()
            (within / f"note{each}.txt").write_text(text, encoding="ascii")
    os.sync()
    return {}


def change(folder: Path, seed: str) -> dict[str, float]:
    """10 MB: a large file and small ones written anew, some more added."""
    (folder / "large").write_bytes(os.urandom(_CHANGED_LARGE_BYTES))
    for number in range(REWRITTEN):
        (folder / f"again{number}").write_bytes(os.urandom(_CHANGED_BYTES))
    for number in range(ADDED):
        (folder / f"added{seed}.{number}").write_bytes(os.urandom(_CHANGED_BYTES))
    return {}


def notebook(folder: Path, seed: str) -> dict[str, float]:
    """One of 2 MB, saved with another picture in one of its cells, as Jupyter does it."""
    rng = random.Random(1)
    changed, again = int(seed) % _CELLS, random.Random(seed)
    cells = []
    for number in range(_CELLS):
        picture = rng.randbytes(_PICTURE_BYTES)
        if number == changed:
            picture = again.randbytes(_PICTURE_BYTES)
        data = {"image/png": base64.b64encode(picture).decode()}
        shown = {"output_type": "display_data", "metadata": {}, "data": data}
        source = [f"plot(data[{number}])\n", f"summary = data[{number}].describe()\n"]
        cells.append({"cell_type": "code", "metadata": {}, "source": source, "outputs": [shown]})
    document = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    unfinished = folder / ".~analysis.ipynb"
    unfinished.write_text(json.dumps(document, indent=1))
    unfinished.rename(folder / "analysis.ipynb")
    return {}


# ── programs ─────────────────────────────────────────────────────────────────


def install_package(folder: Path, wheel: str) -> dict[str, float]:
    """A wheel, as `pip` does it, and it stays."""
    options = ("--no-index", "--no-deps", "--no-cache-dir", "--no-warn-script-location")
    kept = ("--ignore-installed", f"--prefix={folder / 'installed'}")
    _run((*_PIP, "install", *options, *kept, wheel), folder)
    return {}


def upgrade(folder: Path, packages: str) -> dict[str, float]:
    """Debian packages, newer ones than those that are there, from files."""
    _run((*_APT, "install", *packages.split(":")), folder)
    return {}


def repository(folder: Path, archive: str) -> dict[str, float]:
    """A tree of 20 000 files, all in one commit."""
    workbench.unpack(folder, archive)
    return workbench.commit(folder)


def commit_again(folder: Path, seed: str) -> dict[str, float]:
    """A few of its files changed, and committed."""
    tree = folder / "tree"
    rng = random.Random(seed)
    files = sorted(path for path in tree.rglob("*.py") if ".git" not in path.parts)
    for path in rng.sample(files, min(_COMMITTED_FILES, len(files))):
        with path.open("ab") as file:
            file.write(b"\n# changed\n")
    _run((*_GIT, "commit", "--quiet", "--all", "-m", "some"), tree)
    return {}


def _run(command: tuple[str, ...], folder: Path) -> None:
    """Run it in `folder`, whatever its user has set."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(folder),
            "DEBIAN_FRONTEND": "noninteractive",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:3])}: {(done.stderr or done.stdout)[-500:]}")


# ── a program that writes ────────────────────────────────────────────────────


def begin_writing(folder: Path, synced: str = "") -> dict[str, float]:
    """Have a program write 4 KiB every millisecond, or, `synced`, write and fsync every ten."""
    pid = os.fork()
    if pid == 0:
        try:
            _write(folder, is_synced=bool(synced))
        finally:
            os._exit(0)
    _writers.append(pid)
    return {}


def end_writing(folder: Path) -> dict[str, float]:
    """End it; when it was done with each block is in a file then."""
    pid = _writers.pop()
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)
    return {"stamps": (folder / STAMPS_NAME).stat().st_size / array("Q").itemsize}


def _write(folder: Path, *, is_synced: bool) -> None:
    """Write until SIGTERM. What could not be written in its time is not made up for."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    interval_ns = (SYNC_EVERY_MS if is_synced else WRITE_EVERY_MS) * _MILLION
    block, stamps, offset = os.urandom(_BLOCK_BYTES), array("Q"), 0
    fd = os.open(folder / "ring", os.O_WRONLY | os.O_CREAT)
    due_ns = time.monotonic_ns()
    while not asked:
        os.pwrite(fd, block, offset)
        if is_synced:
            os.fsync(fd)
        now_ns = time.monotonic_ns()
        stamps.append(now_ns)
        offset = (offset + _BLOCK_BYTES) % _RING_BYTES
        due_ns = due_ns + interval_ns if due_ns + interval_ns > now_ns else now_ns + interval_ns
        time.sleep((due_ns - now_ns) / 1e9)
    (folder / STAMPS_NAME).write_bytes(stamps.tobytes())


DEEDS: tuple[Callable[..., dict[str, float]], ...] = (
    *(fill, change, notebook, install_package, upgrade),
    *(repository, commit_again, begin_writing, end_writing),
)


def main() -> None:
    workbench.WORKS.update({deed.__name__: deed for deed in DEEDS})
    workbench.main()


if __name__ == "__main__":
    main()
