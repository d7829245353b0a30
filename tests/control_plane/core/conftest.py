"""Fixtures of the core's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.control_plane.core.local_rig import LocalRig
from tests.support.core_plane import Plane, open_plane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    async with open_plane(f"sqlite:///{tmp_path}/studios.db") as plane:
        yield plane


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalRig]:
    rig = LocalRig(tmp_path)
    yield rig
    rig.close()
