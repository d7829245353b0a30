"""A desk for a session that isn't there, and what it says of it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.agent.inside.served import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def folder() -> Iterator[Path]:
    """A session's folder on the host, with a name far too long for a socket's address."""
    top = Path(tempfile.mkdtemp(prefix="studios-test-inside-"))
    path = top / ("long" * 40)
    path.mkdir(mode=0o700)
    yield path
    shutil.rmtree(top)


@pytest.fixture
def subject() -> Subject:
    return Subject()
