"""What users do between two captures, and what it takes to save it.

Each case is done in the session, and then saved by all, another one first in each round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import materials
from bench.saving import holding, packages
from bench.saving.peers import peers
from bench.saving.samples import (
    APT,
    COMMIT,
    FIRST,
    NOTEBOOK,
    NOTHING,
    OURS,
    PIP,
    REPOSITORY,
    Saving,
)
from bench.saving.studio import Studio
from bench.saving.watched import CAPTURE, FIND, WRITE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.checkpoints.tools import Store
    from bench.saving.notes import Notes, Window
    from bench.saving.peers import Peer
    from bench.saving.samples import Samples
    from bench.saving.studio import Session

NOTEBOOK_TIMES = 6
"""Every ten seconds for a minute."""


@dataclass(frozen=True, slots=True)
class Materials:
    """What is installed and unpacked."""

    wheel: Path
    packages: tuple[Path, ...]
    archive: Path

    def cases(self) -> Iterator[tuple[str, str, dict[str, str]]]:
        """Yield case, deed and wishes, in their order."""
        yield PIP, "install_package", {"wheel": str(self.wheel)}
        for number in range(NOTEBOOK_TIMES + 1):
            yield NOTEBOOK, "notebook", {"seed": str(number)}
        yield APT, "upgrade", {"packages": ":".join(map(str, self.packages))}
        yield REPOSITORY, "repository", {"archive": str(self.archive)}
        yield COMMIT, "commit_again", {"seed": "1"}


def prepared(folder: Path) -> Materials:
    """Make what is worked with, in a folder that sessions see. Takes a while."""
    archive = folder / "tree.tar"
    materials.write_archive(archive)
    return Materials(packages.write_wheel(folder), packages.write_packages(folder), archive)


async def measure(
    folder: Path, store: Store, samples: Samples, work: Materials, number: int
) -> None:
    """Do everything once; `number` is the round's."""
    studio = Studio(folder, store)
    saved: list[tuple[str, Window, int]] = []
    async with studio.session() as session:
        everybody = _Everybody(session, studio, await peers(store, folder), samples, saved, number)
        await everybody.save(FIRST)
        first_notebook = True
        for case, deed, wishes in work.cases():
            await session.do(deed, **wishes)
            if case == NOTEBOOK and first_notebook:
                first_notebook = False
                await everybody.save(None)  # what is saved again must have been saved
            else:
                await everybody.save(case)
        await everybody.save(NOTHING)
        found = holding.peaks(session.agent.process.pid)
        samples.peaks.setdefault("everyday work", []).append(found)
        await session.stop()
    for case, window, stored_bytes in saved:
        samples.add_saving(store.name, case, OURS, saving(session.notes, window, stored_bytes))


class _Everybody:
    """All who save, ours among them."""

    def __init__(
        self,
        session: Session,
        studio: Studio,
        peers: tuple[Peer, ...],
        samples: Samples,
        saved: list[tuple[str, Window, int]],
        number: int,
    ) -> None:
        self._session = session
        self._studio = studio
        first = number % (len(peers) + 1)
        everybody: tuple[Peer | None, ...] = (None, *peers)
        self._in_turn = (*everybody[first:], *everybody[:first])
        self._samples = samples
        self._saved = saved

    async def save(self, case: str | None) -> None:
        """Save what there is; what becomes of None is not kept."""
        for peer in self._in_turn:
            if peer is not None:
                found, _ = await peer.save(self._session)
                if case is not None:
                    self._samples.add_saving(peer.store.name, case, peer.name, found)
                continue
            before = self._studio.stored_bytes()
            window = await self._session.save()
            if case is not None:
                self._saved.append((case, window, self._studio.stored_bytes() - before))


def saving(notes: Notes, window: Window, stored_bytes: int) -> Saving:
    """Return what the agent noted of a time that it saved. Pure."""
    capture = notes.of(CAPTURE, window)
    found = notes.of(FIND, capture.window)
    finding = (found.end_ns - capture.begin_ns) / 1e9
    writes = [
        act
        for act in notes.acts
        if act.name == WRITE and capture.begin_ns <= act.begin_ns <= capture.end_ns
    ]
    safe_ns = writes[0].end_ns if writes else capture.end_ns
    return Saving(
        seconds=(safe_ns - capture.begin_ns) / 1e9,
        stored_bytes=stored_bytes,
        finding_seconds=finding,
        whole_seconds=capture.window.seconds,
    )
