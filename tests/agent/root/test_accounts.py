"""The session's accounts are read right, in both versions' words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.root import accounts
from agent.root.cgroup_layout import CONTROLLERS, Hierarchy

if TYPE_CHECKING:
    from collections.abc import Callable

ONE = Hierarchy(1, "/x", CONTROLLERS)
TWO = Hierarchy(2, "/x", ("cpu", "memory", "pids"))
ACCOUNTS = (
    accounts.cpu_seconds,
    accounts.memory_bytes,
    accounts.processes,
    accounts.process_limit_hits,
    accounts.memory_kills,
)
FILES_ONE = {
    "cpuacct.usage": "2500000000\n",
    "memory.stat": "cache 9\nrss 1\nmapped_file 2\ntotal_rss 4096\ntotal_mapped_file 8192\n",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
    "pids.current": "7\n",
    "pids.events": "max 11\n",
}
FILES_TWO = {
    "cpu.stat": "usage_usec 2500000\nuser_usec 1\nsystem_usec 2\n",
    "memory.stat": "anon 4096\nfile 9\nfile_mapped 8192\nfile_dirty 1\n",
    "memory.events": "low 0\nhigh 0\nmax 5\noom 4\noom_kill 3\noom_group_kill 0\n",
    "pids.current": "7\n",
    "pids.events": "max 11\n",
}


def of(files: dict[str, str]) -> Callable[[str], str]:
    return lambda name: files.get(name, "")


@pytest.mark.parametrize(("hierarchy", "files"), [(ONE, FILES_ONE), (TWO, FILES_TWO)])
def test_both_versions_say_the_same(hierarchy: Hierarchy, files: dict[str, str]) -> None:
    assert [account(hierarchy, of(files)) for account in ACCOUNTS] == [2.5, 12288, 7, 11, 3]


@pytest.mark.parametrize("hierarchy", [ONE, TWO])
def test_account_that_is_not_kept_is_none(hierarchy: Hierarchy) -> None:
    assert [account(hierarchy, of({})) for account in ACCOUNTS] == [None] * len(ACCOUNTS)


def test_hierarchy_is_asked_for_its_own_accounts_only() -> None:
    """On a hybrid host each has its part; files of the same name may be there for other reasons."""
    bare = Hierarchy(2, "/x", ())
    assert [account(bare, of(FILES_TWO)) for account in ACCOUNTS] == [2.5, None, None, None, None]
    assert accounts.cpu_seconds(Hierarchy(1, "/x", ("cpu",)), of(FILES_ONE)) is None
