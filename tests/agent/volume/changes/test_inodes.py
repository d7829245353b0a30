"""Whatever is done to an inode is found: each kind of operation by itself."""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

import pytest

from tests.agent.volume.changes.conftest import LARGE
from tests.support.file_operations import (
    COLLAPSE,
    KEEP_SIZE,
    PUNCH_HOLE,
    ZERO,
    allocate,
    clone,
    clone_range,
    deduplicate,
    forgo_copy_on_write,
    keeps_copy_on_write,
    rewrite_unseen,
    write_mapped,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.volume_line import Rounds

MB = 1024**2


async def test_where_nothing_happened_nothing_is_listed(rounds: Rounds) -> None:
    assert await rounds.end() == set()
    assert await rounds.end() == set()


async def test_what_was_only_read_is_not_listed(rounds: Rounds, upper: Path) -> None:
    (upper / "large").read_bytes()
    os.listdir(upper)
    assert await rounds.end() == set()


# ── Content ──────────────────────────────────────────────────────────────────


async def test_a_written_file_is_listed_by_all_its_names(rounds: Rounds, upper: Path) -> None:
    (upper / "a/file").write_bytes(b"new")
    assert await rounds.end() == {b"a/file", b"other/name of a file"}


async def test_an_appended_file_is_listed(rounds: Rounds, upper: Path) -> None:
    with (upper / "large").open("ab") as file:
        file.write(b"more")
    assert await rounds.end() == {b"large"}


@pytest.mark.parametrize("name", ["large", "a/b/file"])
async def test_other_content_of_the_same_size_and_time_is_listed(
    rounds: Rounds, upper: Path, name: str
) -> None:
    path = upper / name
    before = path.stat()
    rewrite_unseen(path, path.read_bytes()[::-1])
    after = path.stat()
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    assert await rounds.end() == {name.encode()}


async def test_the_same_content_written_again_may_be_listed(rounds: Rounds, upper: Path) -> None:
    (upper / "large").write_bytes(LARGE)
    assert await rounds.end() <= {b"large"}


async def test_a_mapped_write_is_listed(rounds: Rounds, upper: Path) -> None:
    write_mapped(upper / "large", b"through memory", 70_000)
    assert await rounds.end() == {b"large"}


async def test_mapped_writes_to_one_mapping_are_listed_each_time(
    rounds: Rounds, upper: Path
) -> None:
    """The page is written already when the second write comes: it must fault once more."""
    with (upper / "large").open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        for number in range(3):
            memory[5] = number
            assert await rounds.end() == {b"large"}
        assert await rounds.end() == set()


async def test_direct_writes_are_listed(rounds: Rounds, upper: Path) -> None:
    fd = os.open(upper / "large", os.O_WRONLY | os.O_DIRECT)
    with mmap.mmap(-1, 4096) as page:
        page.write(b"d" * 4096)
        os.pwrite(fd, page, 8192)
    os.close(fd)
    assert await rounds.end() == {b"large"}


@pytest.mark.parametrize("size", [0, 10, 100_000, 10_000_000])
async def test_a_truncated_file_is_listed(rounds: Rounds, upper: Path, size: int) -> None:
    os.truncate(upper / "large", size)
    assert await rounds.end() == {b"large"}


@pytest.mark.parametrize("mode", [PUNCH_HOLE | KEEP_SIZE, ZERO, ZERO | KEEP_SIZE, KEEP_SIZE, 0])
@pytest.mark.parametrize("offset", [4096, 262_144, 1_000_000])
async def test_allocated_freed_and_zeroed_ranges_are_listed(
    rounds: Rounds, upper: Path, mode: int, offset: int
) -> None:
    before = (upper / "large").stat()
    allocate(upper / "large", offset, 8192, mode)
    os.utime(upper / "large", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert await rounds.end() == {b"large"}


async def test_btrfs_collapses_no_ranges(upper: Path) -> None:
    with pytest.raises(OSError):
        allocate(upper / "large", 0, 4096, COLLAPSE)


async def test_writing_into_allocated_space_is_listed(rounds: Rounds, upper: Path) -> None:
    allocate(upper / "empty", 0, MB)
    assert await rounds.end() == {b"empty"}
    with (upper / "empty").open("r+b") as file:
        file.write(b"within")
    assert await rounds.end() == {b"empty"}


async def test_clones_are_listed_and_their_origin_is_not(rounds: Rounds, upper: Path) -> None:
    clone(upper / "large", upper / "empty")
    assert await rounds.end() == {b"empty"}
    clone_range(upper / "large", upper / "same", at=4096, length=8192)
    assert await rounds.end() == {b"same"}


async def test_clones_within_one_time_and_size_are_listed(rounds: Rounds, upper: Path) -> None:
    (upper / "same").write_bytes(LARGE[::-1])
    await rounds.end()
    before = (upper / "large").stat()
    clone(upper / "same", upper / "large")
    os.utime(upper / "large", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert await rounds.end() == {b"large"}


async def test_what_is_deduplicated_stays_what_it_was(rounds: Rounds, upper: Path) -> None:
    assert deduplicate(upper / "large", upper / "same", len(LARGE)) == len(LARGE)
    assert await rounds.end() <= {b"same", b"large"}


async def test_files_without_copy_on_write_are_listed_each_time(
    rounds: Rounds, upper: Path
) -> None:
    path = upper / "empty"
    forgo_copy_on_write(path)
    assert not keeps_copy_on_write(path)
    for number in range(4):
        with path.open("r+b") as file:
            file.write(bytes([number]) * 200_000)
        assert await rounds.end() == {b"empty"}


async def test_fsynced_writes_are_listed(rounds: Rounds, upper: Path) -> None:
    """They go to the kernel's log first."""
    for name in ("large", "new"):
        with (upper / name).open("ab") as file:
            file.write(b"safe")
            file.flush()
            os.fsync(file.fileno())
    assert await rounds.end() == {b"", b"large", b"new"}


# ── Attributes ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["a/b/file", "a/b", ""])
async def test_other_modes_owners_times_and_attributes_are_listed(
    rounds: Rounds, upper: Path, name: str
) -> None:
    path, listed = upper / name, {name.encode()}
    path.chmod(0o700)
    assert await rounds.end() == listed
    os.chown(path, 1234, 5678)
    assert await rounds.end() == listed
    os.utime(path, ns=(5, 6))
    assert await rounds.end() == listed
    os.setxattr(path, "user.note", b"one")
    assert await rounds.end() == listed
    os.setxattr(path, "user.note", b"two")
    assert await rounds.end() == listed
    os.removexattr(path, "user.note")
    assert await rounds.end() == listed
    os.setxattr(path, "trusted.overlay.opaque", b"y")
    assert await rounds.end() == listed
    os.removexattr(path, "trusted.overlay.opaque")
    assert await rounds.end() == listed


async def test_attributes_of_links_are_listed(rounds: Rounds, upper: Path) -> None:
    os.lchown(upper / "link", 77, 77)
    assert await rounds.end() == {b"link"}
    os.setxattr(upper / "link", "trusted.note", b"of a link", follow_symlinks=False)
    assert await rounds.end() == {b"link"}
