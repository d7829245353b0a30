"""Servers of the real S3 protocol, in processes of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from checkpoints.storage.opening import open_storage
from checkpoints.storage.urls import Access, Bucket, Scheme
from common.secret import Secret
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from checkpoints.storage.storage import Storage

KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
CREDENTIALS: Mapping[str, Secret] = {
    "access_key_id": Secret(KEY_ID),
    "secret_access_key": Secret(SECRET_KEY),
}
BUCKET = "work-directory"

_ADDRESS = re.compile(rb"http://127\.0\.0\.1:\d+")


async def open_bucket(endpoint: str, *, path: str = "", name: str = BUCKET) -> Storage:
    """Return the bare store of a path in a server's bucket."""
    access = Access(credentials=CREDENTIALS, endpoint=endpoint)
    return await open_storage(Bucket(Scheme.S3, name, path), access)


@contextmanager
def moto_server() -> Iterator[str]:
    """Yield the address of a server that has conditional writes, and an empty bucket."""
    with _serving([sys.executable, "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]) as url:
        _make_bucket(url)
        yield url


@contextmanager
def rclone_server(folder: Path) -> Iterator[str]:
    """Yield the address of one that has none, and keeps a bucket's objects in a folder."""
    (folder / BUCKET).mkdir()
    program = shutil.which("rclone", path=str(Path(sys.executable).parent))
    assert program is not None, "no rclone: run scripts/install --dev"
    keys = ["--auth-key", f"{KEY_ID},{SECRET_KEY}"]
    with _serving([program, "serve", "s3", "--addr", "127.0.0.1:0", *keys, str(folder)]) as url:
        yield url


def _make_bucket(url: str) -> None:
    # Signed by nobody: moto asks for no permission.
    request = urllib.request.Request(f"{url}/{BUCKET}", method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


@contextmanager
def _serving(command: list[str]) -> Iterator[str]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        try:
            yield _address(process, log)
        finally:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: IO[bytes]) -> str:
    """Wait until it says where it listens."""

    def said() -> re.Match[bytes] | None:
        text = os.pread(log.fileno(), 1 << 16, 0)
        assert process.poll() is None, f"{process.args!r} ended: {text.decode()}"
        return _ADDRESS.search(text)

    until(said, seconds=30, what="an S3 server listens")
    found = said()
    assert found is not None
    return found[0].decode()
