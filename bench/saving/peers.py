"""restic and tar, saving the folder that a session's changes lie in, while the session goes on.

They run in the agent's mounts, where the volume is. tar writes everything each time, and syncs
nothing; restic always encrypts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING

from bench.checkpoints import bucket
from bench.checkpoints.costs import run
from bench.saving.notes import Window
from bench.saving.samples import RESTIC, TAR, Saving

if TYPE_CHECKING:
    from bench.checkpoints.tools import Store
    from bench.saving.studio import Session

# 1 is that a file changed meanwhile: of a session that goes on, one may.
_TAR = '(tar --format=posix -cf - . || [ $? -eq 1 ]) | zstd -q -f -1 -T2 -o "$0"'


@dataclass(frozen=True, slots=True)
class Peer:
    """One of them, with its repository in a store."""

    name: str
    store: Store
    scratch: Path
    """For logs and caches."""

    async def create(self) -> None:
        """Lay down an empty repository; not measured."""
        if self.name == TAR:
            (self.store.folder / self.name).mkdir()
        else:
            await self._run(("restic", "init"))

    async def save(self, session: Session) -> tuple[Saving, Window]:
        """Save the session's changes, all or what is new."""
        before = self.store.stored_bytes(self.name)
        begin_ns = monotonic_ns()
        await self._run((*self._within(session), *self._words()))
        window = Window(begin_ns, monotonic_ns())
        after = self.store.stored_bytes(self.name)
        return Saving(window.seconds, after if self.name == TAR else after - before), window

    def _within(self, session: Session) -> tuple[str, ...]:
        mounts = ("nsenter", f"--target={session.agent.process.pid}", "--mount")
        return (*mounts, "env", f"--chdir={session.upper}")

    def _words(self) -> tuple[str, ...]:
        if self.name == TAR:
            archive = self.store.folder / self.name / "archive.tar.zst"
            return ("bash", "-c", f"set -o pipefail; {_TAR}", str(archive))
        return ("restic", "backup", ".")

    async def _run(self, command: tuple[str, ...]) -> None:
        environment = {
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": f"{self.scratch}/restic-cache",
            "RESTIC_REPOSITORY": self._address(),
            "AWS_ACCESS_KEY_ID": bucket.KEY_ID,
            "AWS_SECRET_ACCESS_KEY": bucket.SECRET_KEY,
        }
        name = self.name.partition(",")[0]
        await run(
            name,
            *command,
            log_folder=self.scratch,
            within=Path("/"),
            environment=environment,
        )

    def _address(self) -> str:
        if self.store.endpoint:
            return f"s3:{self.store.endpoint}/{bucket.NAME}/{self.store.path}{self.name}"
        return str(self.store.folder / self.name)


async def peers(store: Store, scratch: Path) -> tuple[Peer, ...]:
    """Lay down what saves to a store: to a bucket, restic alone."""
    names = (RESTIC,) if store.endpoint else (RESTIC, TAR)
    found = tuple(Peer(name, store, scratch) for name in names)
    for peer in found:
        await peer.create()
    return found
