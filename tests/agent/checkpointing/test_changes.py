"""What changed since what was committed, on a real btrfs: what was not committed is told again."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.checkpointing.changes import BtrfsChanges, Unknown
from agent.volume.attachment import ACTIVE
from agent.volume.changes.point import UPPER
from agent.volume.loop_volume import LoopVolume
from common.clock import SystemClock
from tests.agent.volume.kernel import clean_up
from tests.support.session_agent import SMALL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="studios-test-changes-"))
    try:
        yield path
    finally:
        clean_up(path)
        shutil.rmtree(path)


@pytest.fixture
async def volume(folder: Path) -> AsyncIterator[LoopVolume]:
    volume = LoopVolume(folder, SMALL, clock=SystemClock())
    await volume.create()
    await volume.attach()
    yield volume
    await volume.detach()


def upper(volume: LoopVolume) -> Path:
    return volume.mount_point / ACTIVE / UPPER


async def test_what_is_not_committed_is_told_again_and_what_is_is_not(volume: LoopVolume) -> None:
    changes = BtrfsChanges()
    (upper(volume) / "first").write_text("first")
    found = await changes.find(await volume.snapshot("1"))
    assert found.changes is None, "of nothing that was ever committed"
    assert (found.folder / "first").read_text() == "first"
    again = await changes.find(await volume.snapshot("2"))
    assert again.changes is None, "the first one came to nothing"
    again.commit()
    unchanged = await changes.find(await volume.snapshot("3"))
    assert unchanged.changes == ()
    unchanged.commit()
    (upper(volume) / "second").write_text("second")
    for name in ("4", "5"):
        found = await changes.find(await volume.snapshot(name))
        assert found.changes is not None
        assert set(found.changes) == {b"", b"second"}
    found.commit()
    assert (await changes.find(await volume.snapshot("6"))).changes == ()


async def test_what_is_written_after_the_snapshot_is_of_the_next_one(volume: LoopVolume) -> None:
    changes = BtrfsChanges()
    first = await volume.snapshot("1")
    (upper(volume) / "meanwhile").write_text("written before the first was looked into")
    (await changes.find(first)).commit()
    found = await changes.find(await volume.snapshot("2"))
    assert found.changes is not None
    assert b"meanwhile" in found.changes


async def test_another_volume_than_before_is_looked_at_as_a_whole(
    volume: LoopVolume, tmp_path: Path
) -> None:
    changes = BtrfsChanges()
    (await changes.find(await volume.snapshot("1"))).commit()
    (tmp_path / UPPER).mkdir()
    found = await changes.find(tmp_path)
    assert found.changes is None
    found.commit()
    assert (await changes.find(await volume.snapshot("2"))).changes is None


async def test_who_knows_nothing_says_so(tmp_path: Path) -> None:
    found = await Unknown().find(tmp_path)
    assert found.changes is None
    assert found.folder == tmp_path / UPPER
    found.commit()
