"""A throw-away PostgreSQL server: its own data folder, its own unix socket, no TCP."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_VERSIONS = Path("/usr/lib/postgresql")
USER = "postgres"  # the server refuses to run as root


def binaries() -> Path | None:
    """The newest installed server's programs, or None."""
    found = sorted(_VERSIONS.glob("*/bin/initdb"))
    return found[-1].parent if found else None


@asynccontextmanager
async def throw_away_server() -> AsyncIterator[str]:
    """Yield the URL of an empty database on a server that ends with the block."""
    programs = binaries()
    assert programs is not None, "no PostgreSQL server: run scripts/install --dev"
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # a short path: the socket's is limited to 107
    data = folder / "data"
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        await _run(programs / "initdb", "-D", data, "-U", USER, "-A", "trust", "--no-sync")
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        await _run(
            programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start"
        )
        try:
            yield f"postgresql://{USER}@/{USER}?host={folder}"
        finally:
            await _run(programs / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


async def _run(*command: object) -> None:
    process = await asyncio.create_subprocess_exec(
        *(str(part) for part in command),
        user=USER if os.geteuid() == 0 else None,
        cwd="/",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()


class PostgresqlError(Exception):
    """As SQLAlchemy's adapter of asyncpg raises it."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate
