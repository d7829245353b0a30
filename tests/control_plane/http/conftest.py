from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.plane import Plane, open_test_plane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for a unix socket (108 bytes)."""
    with tempfile.TemporaryDirectory(prefix="cp-") as name:
        yield Path(name)


@pytest.fixture
async def plane(folder: Path) -> AsyncIterator[Plane]:
    async with open_test_plane(folder) as opened:
        yield opened
