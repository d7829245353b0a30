"""The Makefile, with stand-ins for everything that it calls."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SECONDS_MAX = 20
CALLED = ("scripts/install", "scripts/clean-host", ".venv/bin/studios")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in CALLED:
        script = tmp_path / name
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(f'#!/bin/bash\necho {name} "$*" >>called\n')
        script.chmod(0o755)
    return tmp_path


def make(checkout: Path, *arguments: str) -> tuple[int, list[str], str]:
    """Return the exit code, what was called, and what was said."""
    ended = subprocess.run(
        ["make", *arguments],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    called = checkout / "called"
    return (
        ended.returncode,
        called.read_text().splitlines() if called.exists() else [],
        ended.stderr,
    )


def test_run_installs_then_starts_on_that_folder_and_port(checkout: Path) -> None:
    code, called, said = make(checkout, "run", "DATA_DIR=/srv/my data", "PORT=80")
    assert (code, said) == (0, "")
    assert called == [
        "scripts/install ",
        ".venv/bin/studios up --demo --port 80 --data-dir /srv/my data",
    ]


def test_clean_host_is_told_what_may_be_ended(checkout: Path) -> None:
    _, called, _ = make(checkout, "clean-host", "DATA_DIR=/d", "YES=1", "IN_USE=1")
    assert called == ["scripts/clean-host --end --in-use --data-dir /d"]


@pytest.mark.parametrize("target", ["run", "clean-host"])
@pytest.mark.parametrize("empty", ["DATA_DIR=", "DATA_DIR= "])
def test_an_empty_folder_name_is_refused_before_anything_is_done(
    checkout: Path, target: str, empty: str
) -> None:
    code, called, said = make(checkout, target, empty)
    assert (code, called) == (2, [])
    assert said.startswith("Error: DATA_DIR is empty")
