"""A tool that works with files and says how fast; `files` runs it on each file system.

`python3 workbench.py PORT` answers `GET /` at once, and `GET /?work=NAME&folder=…` when the work
is done, with what it measured: a JSON object of rates, each per second. Sessions don't see the
project, so it is copied to where they see it, and needs nothing but the standard library.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess  # noqa: TID251 - see above: the project's own ways are not there
import sys
import urllib.parse
from contextlib import contextmanager
from pathlib import Path
from time import monotonic_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE_BYTES = 1_000_000_000
BLOCK_BYTES = 1_000_000
SMALL_FILES = 20_000
SMALL_BYTES = 1000
_FOLDERS = 100
_IN_FLIGHT = 16
_BILLION = 1_000_000_000

_PIP = ("/opt/studios/jupyterlab/bin/python", "-m", "pip", "--isolated", "--quiet")
_GIT = ("git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0")


class _Stopwatch:
    seconds = 0.0


@contextmanager
def _timed() -> Iterator[_Stopwatch]:
    watch = _Stopwatch()
    begun_ns = monotonic_ns()
    yield watch
    watch.seconds = (monotonic_ns() - begun_ns) / _BILLION


def write(folder: Path) -> dict[str, float]:
    """One large file of bytes that nothing can make smaller, until it is on the disk."""
    block = os.urandom(BLOCK_BYTES)
    with _timed() as watch, (folder / "large").open("wb", buffering=0) as file:
        for _ in range(LARGE_BYTES // BLOCK_BYTES):
            file.write(block)
        os.fsync(file.fileno())
    return {"write": LARGE_BYTES / watch.seconds}


def read(folder: Path) -> dict[str, float]:
    """The same file from its beginning to its end."""
    block, count = bytearray(BLOCK_BYTES), 0
    with _timed() as watch, (folder / "large").open("rb", buffering=0) as file:
        while size := file.readinto(block):
            count += size
    assert count == LARGE_BYTES, f"{count} bytes are in the file"
    return {"read": LARGE_BYTES / watch.seconds}


def read_randomly(folder: Path, seconds: str) -> dict[str, float]:
    """Blocks of 4 KiB at random places of it, past the page cache, some at once."""
    command = (
        *("fio", "--name=random", "--readonly", "--rw=randread", "--bs=4k", "--direct=1"),
        *("--ioengine=libaio", f"--iodepth={_IN_FLIGHT}", f"--filename={folder / 'large'}"),
        *("--time_based", f"--runtime={seconds}", "--output-format=json"),
    )
    found = json.loads(_run(command, folder))
    return {"random": float(found["jobs"][0]["read"]["iops"])}


def remove_large(folder: Path) -> dict[str, float]:
    """Make room again; not measured."""
    (folder / "large").unlink()
    return {}


def small_files(folder: Path) -> dict[str, float]:
    """Many small files: made, looked at, removed again."""
    content = os.urandom(SMALL_BYTES)
    top = folder / "small"
    names = [f"{top}/{number % _FOLDERS}/{number}" for number in range(SMALL_FILES)]
    for number in range(_FOLDERS):
        (top / str(number)).mkdir(parents=True)
    with _timed() as creating:
        for name in names:
            with open(name, "wb", buffering=0) as file:
                file.write(content)
    with _timed() as looking:
        sizes = [os.stat(name).st_size for name in names]
    assert sizes == [SMALL_BYTES] * SMALL_FILES
    with _timed() as removing:
        for name in names:
            os.unlink(name)
    shutil.rmtree(top)
    return {
        "create": SMALL_FILES / creating.seconds,
        "stat": SMALL_FILES / looking.seconds,
        "unlink": SMALL_FILES / removing.seconds,
    }


def unpack(folder: Path, archive: str) -> dict[str, float]:
    """A tree of source code's shape, as `tar` does it."""
    tree = folder / "tree"
    tree.mkdir()
    with _timed() as watch:
        _run(("tar", "-xf", archive), tree)
    return {"unpack": _count(tree) / watch.seconds}


def commit(folder: Path) -> dict[str, float]:
    """All of it into a repository; not measured."""
    tree = folder / "tree"
    for arguments in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "-m", "all")):
        _run((*_GIT, *arguments), tree)
    _run((*_GIT, "status"), tree)  # the index knows then what it need not read again
    return {}


def status(folder: Path) -> dict[str, float]:
    """What has changed in that repository: nothing."""
    tree = folder / "tree"
    with _timed() as watch:
        changes = _run((*_GIT, "status", "--porcelain"), tree)
    assert not changes, "the repository is clean"
    return {"status": int(_run((*_GIT, "ls-files"), tree).count("\n")) / watch.seconds}


def remove(folder: Path) -> dict[str, float]:
    """The tree without its repository, as `rm` does it."""
    tree = folder / "tree"
    shutil.rmtree(tree / ".git")
    count = _count(tree)
    with _timed() as watch:
        _run(("rm", "-r", "tree"), folder)
    return {"remove": count / watch.seconds}


def install(folder: Path, wheel: str) -> dict[str, float]:
    """A wheel, as `pip` does it, which compiles everything."""
    place = folder / "installed"
    options = ("--no-index", "--no-deps", "--no-cache-dir", "--no-warn-script-location")
    with _timed() as watch:
        _run((*_PIP, "install", *options, f"--prefix={place}", wheel), folder)
    count = _count(place)
    shutil.rmtree(place)
    return {"install": count / watch.seconds}


def walk(folder: Path) -> dict[str, float]:
    """Every name below `folder`, and what stat says of it."""
    with _timed() as watch:
        count = _walk(str(folder))
    return {"walk": count / watch.seconds}


def _walk(folder: str) -> int:
    count, folders = 0, [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                count += 1
                entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
    return count


def _count(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def _run(command: tuple[str, ...], folder: Path) -> str:
    """Run it in `folder`, whatever its user has set; return what it prints."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:3])}: {done.stderr.strip()[-500:]}")
    return done.stdout


WORKS = {
    work.__name__: work
    for work in (
        *(write, read, read_randomly, remove_large, small_files),
        *(unpack, commit, status, remove, install, walk),
    )
}


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        wishes = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        code, body = 200, b"{}"
        if name := wishes.pop("work", ""):
            try:
                folder = Path(wishes.pop("folder"))
                folder.mkdir(parents=True, exist_ok=True)
                body = json.dumps(WORKS[name](folder, **wishes)).encode()
            except Exception as error:  # noqa: BLE001 - whatever it is, the bench shall hear of it
                code, body = 500, f"{type(error).__name__}: {error}".encode()
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def main() -> None:
    http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), _Handler).serve_forever()


if __name__ == "__main__":
    main()
