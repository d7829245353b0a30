"""What agents do to their process or to this machine, undone after each test."""

from __future__ import annotations

import ctypes
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.orphans import become_subreaper
from tests.support.agent_rig import session_id
from tests.support.seen_session import cgroups_of, end_what_is_left_of, left_of
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

_PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture
def subreaper() -> Iterator[None]:
    """Orphans below the test become its children, as in the agent."""
    become_subreaper()
    yield
    assert ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that sessions see; afterwards nothing of a session that lived there is left."""
    path = Path(tempfile.mkdtemp(prefix="studios-test-", dir="/var/lib"))
    path.chmod(0o755)  # users inside besides root see it, too
    try:
        yield path
        # Killed agents are cleaned up after by the kernel, which takes a moment.
        until(lambda: not left_of(path), what=f"nothing is left of the session in {path}")
    finally:
        end_what_is_left_of(path)
        shutil.rmtree(path)
        for cgroup in cgroups_of(session_id(path)):  # a killed agent leaves them, empty
            cgroup.rmdir()
