"""Whatever happens between two captures, the change finder has seen all that a full look sees."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from agent.volume.changes.finder import changed
from agent.volume.changes.point import UPPER, point_of
from checkpoints.format.ids import CheckpointId
from checkpoints.writing.writer import Writer
from tests.support.checkpoint_rig import repository
from tests.support.restless_folder import VERBS, Operation, RestlessFolder, operations
from tests.support.volume_line import Rounds
from tests.support.whole_facts import look, missing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.volume_line import Mounted

ROUNDS = st.lists(st.lists(operations, min_size=1, max_size=12), min_size=1, max_size=4)
STARTS = st.lists(operations, min_size=10, max_size=40)
MOST = 0.7
WITHOUT_SHRINKING = settings(
    max_examples=25,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
"""An example takes half a second, so a smaller one would be long in coming."""


@contextmanager
def _restless(root: Path, start: list[Operation]) -> Iterator[RestlessFolder]:
    folder = RestlessFolder(root)
    try:
        for operation in start:
            folder.carry_out(operation)
        yield folder
    finally:
        folder.let_go()


def test_random_operations_on_the_volume_are_all_seen(volume: Mounted) -> None:
    done: Counter[str] = Counter()

    @WITHOUT_SHRINKING
    @given(start=STARTS, rounds=ROUNDS, remount=st.booleans())
    def check(start: list[Operation], rounds: list[list[Operation]], remount: bool) -> None:
        volume.prepare()
        with _restless(volume.upper, start) as folder:
            asyncio.run(_check(volume, folder, rounds, remount=remount))
        done.update(folder.done)

    check()
    assert len(done) > MOST * len(VERBS), "or little has happened"


async def _check(
    volume: Mounted, folder: RestlessFolder, rounds: list[list[Operation]], *, remount: bool
) -> None:
    captured = await Rounds.begin(volume)
    for operations_drawn in rounds:
        for operation in operations_drawn:
            folder.carry_out(operation)
        await captured.end()
        if remount:  # numbers of what was made last and is gone are given again
            folder.let_go()
            volume.unmount()
            volume.mount()


def test_random_operations_on_a_session_are_all_seen(volume: Mounted) -> None:
    """Through an overlay over an image: copies, whiteouts, opaque folders."""
    done: Counter[str] = Counter()
    image = volume.folder / "image files"

    @WITHOUT_SHRINKING
    @given(below=STARTS, start=st.lists(operations, max_size=20), rounds=ROUNDS)
    def check(
        below: list[Operation], start: list[Operation], rounds: list[list[Operation]]
    ) -> None:
        volume.prepare()
        shutil.rmtree(image, ignore_errors=True)
        image.mkdir()
        with _restless(image, below):
            pass
        with volume.overlay(image) as merged, _restless(merged, start) as folder:
            asyncio.run(_check_over_base(volume, image, folder, rounds))
        done.update(folder.done)

    check()
    assert len(done) > MOST * len(VERBS), "or little has happened"


async def _check_over_base(
    volume: Mounted, image: Path, folder: RestlessFolder, rounds: list[list[Operation]]
) -> None:
    """What is below is what was restored: the writers put both together."""
    found = await repository()
    below = await Writer.open(found, CheckpointId(f"{0xE0:016x}"), run_number=1)
    base = await below.write(image, final=True)
    captured = await Rounds.begin(volume, found, base)
    for drawn in rounds:
        for operation in drawn:
            folder.carry_out(operation)
        await captured.end()


SNAPSHOTS_WHILE_WRITING = 60


def test_what_is_written_while_the_snapshot_is_made_is_seen_by_it_or_by_the_next(
    volume: Mounted,
) -> None:
    """One transaction may have both: what the snapshot shows, and the snapshot itself."""
    volume.prepare()
    ended = threading.Event()
    writers = [
        threading.Thread(target=_write_on, args=(volume.upper, number, ended))
        for number in range(3)
    ]
    for writer in writers:
        writer.start()
    try:
        differed = _snapshots_while_writing(volume)
    finally:
        ended.set()
        for writer in writers:
            writer.join()
    assert differed > SNAPSHOTS_WHILE_WRITING // 2, "or nothing was written"


def _snapshots_while_writing(volume: Mounted) -> int:
    with volume.snapshot() as snapshot:
        since, before = point_of(snapshot), look(snapshot / UPPER)
    differed = 0
    for _ in range(SNAPSHOTS_WHILE_WRITING):
        with volume.snapshot() as snapshot:
            found, after = changed(snapshot, since), look(snapshot / UPPER)
        assert not missing(before, after, set(found.paths))
        differed += after != before
        since, before = found.point, after
    return differed


def _write_on(upper: Path, number: int, ended: threading.Event) -> None:
    (folder := upper / f"{number}").mkdir()
    count = 0
    while not ended.is_set():
        count += 1
        name = folder / f"{count % 20}"
        name.write_bytes(b"%d" % count * (count % 3000))
        if count % 3 == 0:
            name.rename(folder / f"{(count + 1) % 20}")
        if count % 5 == 0:
            os.setxattr(folder, "user.count", b"%d" % count)
        if count % 7 == 0:
            (folder / f"{(count + 1) % 20}").unlink(missing_ok=True)
