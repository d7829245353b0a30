"""File systems of a test whose reads never end; see `hanging_fuse`, which serves them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.agent_rig import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class HungLink:
    """A mounted one, with a single file: `object`."""

    def __init__(self, folder: Path, server: subprocess.Popen[str]) -> None:
        self.folder = folder
        self._server = server

    async def heard(self, line: str) -> None:
        """Wait for its server to say that."""
        assert self._server.stdout is not None
        assert await asyncio.to_thread(self._server.stdout.readline) == f"{line}\n"


@contextlib.contextmanager
def hung_link(folder: Path, *, within: Sequence[str] = ()) -> Iterator[HungLink]:
    """Mount one at `folder`, by the command `within` in other namespaces; it is ended afterwards.

    Its server's end lets go of everybody who hangs in it.
    """
    server = subprocess.Popen(
        [*within, sys.executable, "-m", "tests.support.hanging_fuse", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield HungLink(folder, server)
    finally:
        server.kill()
        server.communicate()
        # Fails where the namespace is gone, and the mount with it.
        subprocess.run([*within, "umount", "--lazy", folder], capture_output=True, check=False)
