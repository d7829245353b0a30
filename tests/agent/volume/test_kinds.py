"""Which kind of file system a new volume becomes."""

from __future__ import annotations

import pytest

from agent.volume import kinds, syscalls
from agent.volume.kinds import BTRFS, EXT4, XFS, choose
from agent.volume.volume import KernelLacksError, ToolMissingError

MB = 1024**2


def test_the_best_kind_that_the_host_has_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking: set[str] = set()
    absent: set[str] = set()
    has = syscalls.try_file_system
    monkeypatch.setattr(
        syscalls, "try_file_system", lambda name: 19 if name in lacking else has(name)
    )
    found = kinds.mkfs_of
    monkeypatch.setattr(kinds, "mkfs_of", lambda kind: None if kind.name in absent else found(kind))
    assert choose(2048 * MB) is BTRFS
    lacking.add("btrfs")
    assert choose(2048 * MB) is XFS
    assert "modprobe btrfs" in kinds.weakness_of(XFS)
    assert choose(256 * MB) is EXT4, "XFS is never so small"
    absent.add("xfs")
    assert choose(2048 * MB) is EXT4
    absent.add("ext4")
    with pytest.raises(KernelLacksError, match="btrfs"):
        choose(2048 * MB)
    lacking.clear()
    absent.add("btrfs")
    with pytest.raises(ToolMissingError, match="btrfs-progs"):
        choose(2048 * MB)
    assert "btrfs-progs" in kinds.weakness_of(XFS)
