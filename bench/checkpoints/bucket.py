"""A server of S3 on loopback: rclone, which keeps a bucket's objects as files of a folder.

It has no conditional writes, so nobody may share a work directory on it; here nobody does. And it
answers requests for a part of an object with that part, but with the status of a whole one, which
clients have to take for the whole. So haproxy stands in front of it and says 206, as servers do.
"""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.processes import BenchError, child, find_program, free_port
from common.secret import Secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

NAME = "bench"
KEY_ID, SECRET_KEY = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
CREDENTIALS: Mapping[str, Secret] = {
    "access_key_id": Secret(KEY_ID),
    "secret_access_key": Secret(SECRET_KEY),
}
_FRONT = """\
defaults
    mode http
    timeout connect 10s
    timeout client 300s
    timeout server 300s
frontend s3
    bind 127.0.0.1:{front}
    http-response set-status 206 if {{ status 200 }} {{ res.hdr(content-range) -m found }}
    default_backend rclone
backend rclone
    server rclone 127.0.0.1:{back}
"""


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[str]:
    """Serve while inside; give the address. Objects of the bucket lie in `folder/NAME`."""
    (folder / NAME).mkdir(parents=True)
    logs = folder.parent
    front, back = free_port(), free_port()
    settings = logs / "haproxy.cfg"
    settings.write_text(_FRONT.format(front=front, back=back), encoding="ascii")
    server = (str(program()), "serve", "s3", "--addr", f"127.0.0.1:{back}")
    keys = ("--auth-key", f"{KEY_ID},{SECRET_KEY}")
    async with (
        child("rclone", *server, *keys, str(folder), folder=logs) as rclone,
        child("haproxy", find_program("haproxy"), "-f", str(settings), folder=logs) as haproxy,
    ):
        await rclone.listening(back)
        await haproxy.listening(front)
        yield f"http://127.0.0.1:{front}"


def program() -> Path:
    """Return where rclone is: a Python package of the project brings it."""
    found = Path(sys.executable).with_name("rclone")
    if not found.exists():
        raise BenchError("rclone is not installed: run scripts/install --dev")
    return found
