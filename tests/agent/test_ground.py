"""A session's ground, and its plain stand-in for tests: one contract for both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.agent_rig import ROOT
from tests.support.cancelled_making import MOMENTS
from tests.support.ground_life import promises
from tests.support.plain_ground import plain_ground
from tests.support.rig import until

if TYPE_CHECKING:
    from tests.support.ground_life import Kind

PROGRAM_SECONDS_MAX = 50.0


def last_line_of(module: str, *arguments: str) -> str:
    """Run a program of the tests to its end; return the last line that it prints."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.support.{module}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("kind", ["plain", "session"])
def test_ground_keeps_its_promises(kind: Kind, place: Path) -> None:
    found: dict[str, str] = json.loads(last_line_of("ground_life", kind, str(place)))
    assert found.keys() == set(promises())
    assert [f"{claim}: {problem}" for claim, problem in found.items() if problem] == []


def test_making_that_is_cancelled_at_any_moment_leaves_nothing(place: Path) -> None:
    left: list[list[str]] = json.loads(last_line_of("cancelled_making", str(place)))
    assert left == [[]] * MOMENTS


async def test_a_program_of_the_stand_in_lives_while_it_shows_no_environment(place: Path) -> None:
    """In the middle of an exec none does. A test that took that for the end didn't end itself."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        async with plain_ground(str(place), null) as ground:
            arguments = ("env", "--ignore-environment", "sleep", "600")
            program = await ground.enter(
                arguments, {"PATH": os.defpath}, str(place), streams=(null, null, null)
            )
            name = Path(f"/proc/{program.pid}/comm")
            await until(lambda: name.read_text() == "sleep\n", what="it has forgotten its own")
            assert ground.living() == [program.pid]
            await program.close()
            assert ground.living() == []
    finally:
        os.close(null)
