"""The peers: one way to write, to write again, and to read back. All with their own defaults.

restic always encrypts; borg asks whether to, and is told not to, as we don't. tar writes everything
again each time, and syncs nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from bench.checkpoints import bucket
from bench.checkpoints.costs import Cost, run
from bench.checkpoints.samples import BORG, RESTIC, TAR

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Store:
    """Where repositories are put: a folder, or the bucket whose objects are in it."""

    name: str
    folder: Path
    endpoint: str = ""
    path: str = ""
    """In the bucket: nothing, or with a slash at its end."""

    def within(self, name: str) -> Store:
        """Return a new folder in it as a store."""
        (self.folder / name).mkdir()
        return replace(self, folder=self.folder / name, path=f"{self.path}{name}/")

    def stored_bytes(self, repository: str) -> int:
        """Return the sizes of all objects of one."""
        return sum(
            os.path.getsize(os.path.join(where, name))
            for where, _, names in os.walk(self.folder / repository)
            for name in names
        )


class Tool(Protocol):
    """Who is measured. Each has one repository at a time, of its own name, in a store."""

    @property
    def name(self) -> str:
        """As tables have it, and the repository."""
        ...

    @property
    def store(self) -> Store: ...

    @property
    def scratch(self) -> Path:
        """For logs and caches."""
        ...

    async def create(self) -> None:
        """Lay down an empty repository; not measured."""
        ...

    async def write(self, folder: Path) -> Cost:
        """Write all of a folder, or what has changed since."""
        ...

    async def restore(self, folder: Path) -> Cost:
        """Make what was written last in an empty folder."""
        ...


@dataclass(frozen=True, slots=True)
class Restic:
    """restic, to a folder or a bucket."""

    store: Store
    scratch: Path
    name: str = RESTIC

    async def create(self) -> None:
        await self._run(self.scratch, "init")

    async def write(self, folder: Path) -> Cost:
        return await self._run(folder, "backup", ".")

    async def restore(self, folder: Path) -> Cost:
        return await self._run(folder, "restore", "latest", "--target", ".")

    async def _run(self, within: Path, *words: str) -> Cost:
        environment = {
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": f"{self.scratch}/restic-cache-{self.store.name}",
            "RESTIC_REPOSITORY": self._address(),
            "AWS_ACCESS_KEY_ID": bucket.KEY_ID,
            "AWS_SECRET_ACCESS_KEY": bucket.SECRET_KEY,
        }
        return await _run(self, within, ("restic", *words), environment)

    def _address(self) -> str:
        if self.store.endpoint:
            return f"s3:{self.store.endpoint}/{bucket.NAME}/{self.store.path}{self.name}"
        return str(self.store.folder / self.name)


@dataclass(slots=True)
class Borg:
    """borg, to a folder."""

    store: Store
    scratch: Path
    name: str = BORG
    written: int = 0

    async def create(self) -> None:
        self.written = 0
        await self._run(self.scratch, "init", "--encryption", "none", str(self._repository))

    async def write(self, folder: Path) -> Cost:
        self.written += 1
        return await self._run(folder, "create", f"{self._repository}::{self.written}", ".")

    async def restore(self, folder: Path) -> Cost:
        return await self._run(folder, "extract", f"{self._repository}::{self.written}")

    @property
    def _repository(self) -> Path:
        return self.store.folder / self.name

    async def _run(self, within: Path, *words: str) -> Cost:
        environment = {
            "BORG_BASE_DIR": f"{self.scratch}/borg",
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }
        return await _run(self, within, ("borg", *words), environment)


@dataclass(frozen=True, slots=True)
class Tar:
    """`tar | zstd -1 -T2`, to a file; times to the nanosecond."""

    store: Store
    scratch: Path
    name: str = TAR

    async def create(self) -> None:
        (self.store.folder / self.name).mkdir()

    async def write(self, folder: Path) -> Cost:
        return await self._run(folder, 'tar --format=posix -cf - . | zstd -q -f -1 -T2 -o "$0"')

    async def restore(self, folder: Path) -> Cost:
        return await self._run(folder, 'zstd -q -d -c "$0" | tar -xpf -')

    async def _run(self, within: Path, pipe: str) -> Cost:
        archive = self.store.folder / self.name / "archive.tar.zst"
        command = ("bash", "-c", f"set -o pipefail; {pipe}", str(archive))
        return await _run(self, within, command, {})


async def _run(
    tool: Tool, within: Path, command: tuple[str, ...], environment: Mapping[str, str]
) -> Cost:
    return await run(
        tool.name, *command, log_folder=tool.scratch, within=within, environment=environment
    )
