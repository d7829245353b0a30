"""What a snapshot shows is saved, also where it is the live files that are read."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from checkpoints.writing import originals
from tests.agent.volume.kernel import without_capability
from tests.support.checkpoint_rig import read_back, repository, seen, writer
from tests.support.file_operations import clone, deduplicate, write_mapped
from tests.support.hung_link import hung_link
from tests.support.original_files import (
    CONTENT,
    MB,
    NAMES,
    PIECE_BYTES,
    PIECES,
    SIZES,
    Reads,
    fill,
    rewrite,
)
from tests.support.volume_line import mounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.checkpoint_rig import Thing
    from tests.support.volume_line import Mounted


CAP_LEASE = 28  # linux/capability.h


@pytest.fixture(scope="module")
def volume() -> Iterator[Mounted]:
    with mounted(512 * MB) as made:
        yield made


@pytest.fixture
def upper(volume: Mounted) -> Path:
    volume.prepare()
    fill(volume.upper / "folder")
    return volume.upper


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    reads = Reads()
    monkeypatch.setattr(originals, "read_fully", reads)
    return reads


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times tell nothing: every write began before the snapshot, and went on after it."""
    monkeypatch.setattr(originals, "_is_untouched", lambda _original, _copy: True)


async def saved(snapshot: Path, live: Path) -> dict[bytes, Thing]:
    found = await repository()
    record = await (await writer(found)).write(snapshot / "upper", originals=live)
    return await read_back(found, record)


async def test_what_nobody_has_touched_is_read_from_the_live_files(
    volume: Mounted, upper: Path, reads: Reads
) -> None:
    with volume.snapshot() as snapshot:
        assert await saved(snapshot, upper) == seen(snapshot / "upper")
    for name, size in SIZES.items():
        assert reads.live[name] >= size
        assert reads.copied[name] == 0
    assert reads.live["holes"]
    assert reads.copied["allocated"], "what was only allocated may be written to where it is"
    assert reads.live["tiny"] == 0
    assert reads.copied["pieces"] == PIECES * PIECE_BYTES


async def test_without_live_files_the_snapshot_is_read(
    volume: Mounted, upper: Path, reads: Reads
) -> None:
    with volume.snapshot() as snapshot:
        (upper / "folder").rename(upper / "elsewhere")
        assert await saved(snapshot, upper) == seen(snapshot / "upper")
    assert not reads.live


@pytest.mark.parametrize("name", [*SIZES, "in place", "holes"])
@pytest.mark.parametrize("change", CONTENT.values(), ids=CONTENT)
async def test_what_was_changed_after_the_snapshot_is_not_in_it(
    volume: Mounted, upper: Path, change: Callable[[Path], None], name: str
) -> None:
    with volume.snapshot() as snapshot:
        change(upper / "folder" / name)
        assert await saved(snapshot, upper) == seen(snapshot / "upper")
        assert seen(upper) != seen(snapshot / "upper"), "or nothing was changed"


@pytest.mark.usefixtures("blind")
@pytest.mark.parametrize("name", [*SIZES, "in place", "holes"])
@pytest.mark.parametrize("change", CONTENT.values(), ids=CONTENT)
async def test_nor_what_only_the_file_system_knows_of(
    volume: Mounted, upper: Path, reads: Reads, change: Callable[[Path], None], name: str
) -> None:
    with volume.snapshot() as snapshot:
        change(upper / "folder" / name)
        assert await saved(snapshot, upper) == seen(snapshot / "upper")
    assert reads.live[name], "or it was not even tried"


@pytest.mark.usefixtures("blind")
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("change", CONTENT.values(), ids=CONTENT)
async def test_nor_what_is_changed_while_it_is_read(
    volume: Mounted, upper: Path, reads: Reads, change: Callable[[Path], None], moment: str
) -> None:
    left = set(SIZES)

    def once(name: str) -> None:
        if name in left:
            left.discard(name)
            change(upper / "folder" / name)

    setattr(reads, moment, once)
    with volume.snapshot() as snapshot:
        assert await saved(snapshot, upper) == seen(snapshot / "upper")
    assert not left


@pytest.mark.parametrize("change", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("name", SIZES)
async def test_whatever_is_in_its_place_the_snapshot_s_file_is_saved(
    volume: Mounted, upper: Path, change: Callable[[Path], object], name: str
) -> None:
    with volume.snapshot() as snapshot:
        change(upper / "folder" / name)
        assert await saved(snapshot, upper) == seen(snapshot / "upper")


async def test_extents_that_were_given_back_are_told_by_the_time(
    volume: Mounted, upper: Path, reads: Reads
) -> None:
    """It had other content just when it was read, and has its own again when it is looked at."""
    file = upper / "folder/middle"

    def other(name: str) -> None:
        if name == "middle":
            rewrite(file)

    def own(name: str) -> None:
        if name == "middle":
            clone(upper / "folder/middle clone", file)

    reads.before, reads.after = other, own
    with volume.snapshot() as snapshot:
        copy = snapshot / "upper/folder/middle"
        assert await saved(snapshot, upper) == seen(snapshot / "upper")
        assert reads.live["middle"] == reads.copied["middle"] == SIZES["middle"]
        with file.open("rb") as live, copy.open("rb") as copied:
            extents = [
                originals._extents(opened.fileno(), 0, SIZES["middle"]) for opened in (live, copied)
            ]
        assert extents[0] == extents[1]


async def test_what_was_made_one_with_another_is_the_same(volume: Mounted, upper: Path) -> None:
    """Deduplication exchanges extents and nothing else."""
    twin = upper / "folder/twin"
    shutil.copyfile(upper / "folder/middle", twin)
    with volume.snapshot() as snapshot:
        assert deduplicate(upper / "folder/middle", twin, 200_000)
        assert await saved(snapshot, upper) == seen(snapshot / "upper")


async def test_a_pipe_in_its_place_is_not_opened(
    volume: Mounted, upper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for a reader would go on, and lose what they write."""
    opened: list[bytes] = []

    def noted(name: bytes, folder_fd: int) -> int:
        opened.append(name)
        return os.open(name, os.O_RDONLY | os.O_NONBLOCK, dir_fd=folder_fd)

    monkeypatch.setattr(originals, "open_file", noted)
    with volume.snapshot() as snapshot:
        (upper / "folder/small").unlink()
        os.mkfifo(upper / "folder/small")
        assert await saved(snapshot, upper) == seen(snapshot / "upper")
    assert b"middle" in opened
    assert b"small" not in opened


async def test_a_file_that_somebody_may_write_to_is_read_in_the_snapshot(
    volume: Mounted, upper: Path, reads: Reads
) -> None:
    with (upper / "folder/small").open("r+b"), volume.snapshot() as snapshot:
        assert await saved(snapshot, upper) == seen(snapshot / "upper")
    assert reads.copied["small"] == SIZES["small"]
    assert not reads.copied["another"]


async def test_files_of_others_are_read_in_the_snapshot_where_cap_lease_is_missing(
    volume: Mounted, upper: Path, reads: Reads
) -> None:
    for name in ("another", "middle", "small"):
        os.chown(upper / "folder" / name, 1000, 1000)
    with volume.snapshot() as snapshot, without_capability(CAP_LEASE):
        assert await saved(snapshot, upper) == seen(snapshot / "upper")
    assert reads.copied["middle"] == SIZES["middle"]
    assert reads.live["another"], "the first of them was tried"
    assert not reads.live["middle"], "and no more"
    assert reads.live["large"]
    assert not reads.copied["large"]


async def test_a_write_that_hangs_in_a_dead_data_link_holds_nothing_up(
    volume: Mounted, upper: Path, reads: Reads, tmp_path: Path
) -> None:
    """The kernel lets nobody else at the file; and what it has written so far is in the snapshot.

    So times tell nothing of what it writes later.
    """
    file = "folder/middle"
    with _hanging(tmp_path / "object", upper / file) as hanging, hung_link(tmp_path) as link:
        await link.heard("mounted")
        await link.heard("reading")
        with volume.snapshot() as snapshot:
            async with asyncio.timeout(20):
                assert await saved(snapshot, upper) == seen(snapshot / "upper")
            live, copy = (folder.joinpath(file).stat() for folder in (upper, snapshot / "upper"))
        assert live.st_ctime_ns == copy.st_ctime_ns
        assert reads.live["middle"], "it looked untouched"
        assert hanging.poll() is None


@contextmanager
def _hanging(link: Path, file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have a program write some pages, and more that it takes from a link, at once."""
    program = [sys.executable, "-c", _HANG, str(link), str(file)]
    with subprocess.Popen(program) as hanging:
        try:
            yield hanging
        finally:
            hanging.kill()


_HANG = """
import mmap, os, sys
while not os.path.exists(sys.argv[1]): pass
link, file = os.open(sys.argv[1], os.O_RDONLY), os.open(sys.argv[2], os.O_RDWR)
os.pwritev(file, [bytes(200_000), mmap.mmap(link, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ)], 0)
"""


FILES = 40
ROUNDS = 12


async def test_what_others_write_all_the_time_is_saved_as_the_snapshot_has_it(
    volume: Mounted, reads: Reads
) -> None:
    volume.prepare()
    for number in range(FILES):
        size = random.Random(number).randrange(5000, 600_000)
        (volume.upper / f"{number}").write_bytes(bytes(size))
    ended = threading.Event()
    writers = [threading.Thread(target=_write_on, args=(volume.upper, n, ended)) for n in range(3)]
    for each in writers:
        each.start()
    try:
        for _ in range(ROUNDS):
            with volume.snapshot() as snapshot:
                assert await saved(snapshot, volume.upper) == seen(snapshot / "upper")
    finally:
        ended.set()
        for each in writers:
            each.join()
    assert reads.live, "or all had changed each time"
    assert reads.copied, "or nothing had"


def _write_on(upper: Path, seed: int, ended: threading.Event) -> None:
    """Write in place: what was read a moment ago, or will be."""
    rng = random.Random(seed)
    while not ended.is_set():
        file = upper / f"{rng.randrange(FILES)}"
        size = file.stat().st_size
        data = rng.randbytes(rng.choice([1, 100, 4096, 50_000]))[:size]
        at = rng.randrange(size - len(data) + 1)
        if rng.random() < 0.5:
            write_mapped(file, data, at)
        else:
            with file.open("r+b", buffering=0) as opened:
                opened.seek(at)
                opened.write(data)
        ended.wait(rng.random() / 100)
