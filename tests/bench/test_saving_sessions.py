"""Sessions of the benchmark of saving: saved when asked, watched, restored, beside the peers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.checkpoints import bucket
from bench.checkpoints.tools import Store
from bench.saving import holding, restarts
from bench.saving.everyday import saving
from bench.saving.peers import peers
from bench.saving.samples import FOLDER, RESTIC, S3, TAR, Samples
from bench.saving.studio import Studio

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(300)

MB = 1_000_000


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="studios-test-", dir="/var/lib") as name:
        Path(name).chmod(0o755)
        (Path(name) / "store").mkdir()
        yield Path(name)


async def test_a_session_is_saved_when_it_is_asked_for_and_its_agent_notes_how(
    folder: Path,
) -> None:
    studio = Studio(folder, Store(FOLDER, folder / "store"))
    async with studio.session() as session:
        before = studio.stored_bytes()
        await session.do("change", seed="1")
        window = await session.save()
        stored_bytes = studio.stored_bytes() - before
        pid = session.agent.process.pid
        assert holding.count(pid) >= 2, "itself, and what saves"
        assert holding.peaks(pid) >= holding.held(pid).resident
        for peer in await peers(studio.store, folder):
            found, _ = await peer.save(session)
            again, _ = await peer.save(session)
            assert 10 * MB < found.stored_bytes < 15 * MB, peer.name
            assert (again.stored_bytes < MB) == (peer.name == RESTIC), "tar writes all again"
        unchanged = [await session.save(), await session.save()]
        await session.stop()
    assert {peer.name for peer in await peers(Store(FOLDER, folder / "other"), folder)} == {
        RESTIC,
        TAR,
    }
    found = saving(session.notes, window, stored_bytes)
    assert 10 * MB < found.stored_bytes < 15 * MB
    assert 0 < found.finding_seconds < found.seconds < found.whole_seconds < window.seconds
    first = session.notes.loop_pause([session.started])
    assert 0.004 < first.longest_seconds < session.started.seconds
    assert all(saving(session.notes, each, 0).seconds > 0 for each in unchanged)


@pytest.mark.soak
async def test_a_session_that_is_stopped_begins_again_with_all_its_files(folder: Path) -> None:
    async with bucket.serving(folder / "s3") as endpoint:
        store = Store(S3, folder / "s3" / bucket.NAME, endpoint).within("round")
        samples = Samples()
        found = await restarts.measure(folder, store, samples, 10)
    assert samples.restarts == {(S3, 10): [found]}
    assert 0 < found.restore_seconds < found.start_seconds


@pytest.mark.soak
async def test_an_agent_at_rest_holds_less_than_when_it_saves(folder: Path) -> None:
    samples = Samples()
    await holding.measure(folder, Store(FOLDER, folder / "store"), samples)
    (found,) = samples.idle
    assert 30 * MB < found.proportional <= found.resident < 150 * MB
