"""A session's ground, and its plain stand-in for tests: one contract for both."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.agent_rig import ROOT
from tests.support.ground_life import promises

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.ground_life import Kind

LIFE_SECONDS_MAX = 50.0


def wrong_in_the_life_of(kind: Kind, folder: Path) -> dict[str, str]:
    """Return what is wrong with each claim, empty for nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.ground_life", kind, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIFE_SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("kind", ["plain", "session"])
def test_ground_keeps_its_promises(kind: Kind, place: Path) -> None:
    found = wrong_in_the_life_of(kind, place)
    assert found.keys() == set(promises())
    assert [f"{claim}: {problem}" for claim, problem in found.items() if problem] == []
