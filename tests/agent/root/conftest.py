"""Session roots for tests, and the check that nothing is left of them."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.session_rig import SessionRig
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder outside of what every session finds emptied, so that the platform has to hide it."""
    path = Path(tempfile.mkdtemp(prefix="studios-test-root-", dir="/var/lib"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def session(folder: Path) -> Iterator[SessionRig]:
    """One session for a module's tests, which must not disturb each other."""
    with SessionRig(folder) as rig:
        until(lambda: rig.ask("status")["way_out_problem"] is None, what="a way out")
        yield rig
    assert rig.leftovers() == []
