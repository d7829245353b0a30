"""A server of S3 on loopback: rclone, which keeps a bucket's objects as files of a folder.

It has no conditional writes, so nobody may share a work directory on it; here nobody does.
"""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.processes import BenchError, child, free_port
from common.secret import Secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

NAME = "bench"
KEY_ID, SECRET_KEY = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
CREDENTIALS: Mapping[str, Secret] = {
    "access_key_id": Secret(KEY_ID),
    "secret_access_key": Secret(SECRET_KEY),
}


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[str]:
    """Serve while inside; give the address. Objects of the bucket lie in `folder/NAME`."""
    (folder / NAME).mkdir(parents=True)
    port = free_port()
    address = f"127.0.0.1:{port}"
    command = (str(program()), "serve", "s3", "--addr", address)
    keys = ("--auth-key", f"{KEY_ID},{SECRET_KEY}")
    async with child("rclone", *command, *keys, str(folder), folder=folder.parent) as server:
        await server.listening(port)
        yield f"http://{address}"


def program() -> Path:
    """Return where rclone is: a Python package of the project brings it."""
    found = Path(sys.executable).with_name("rclone")
    if not found.exists():
        raise BenchError("rclone is not installed: run scripts/install --dev")
    return found
