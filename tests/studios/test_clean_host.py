"""scripts/clean-host, with processes that look like those of sessions."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from studios.up import folder
from tests.support.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS_MAX = 60
TOOL_ID = f"tool-of-a-test-{os.getpid()}"
LONG_PROGRAM = "import sys\n\n\n# \x1b[31m" + 200 * "long " + "\nsys.stdin.read()"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Return the folder of a `studios up`, with one session in it."""
    session = tmp_path / "my data" / "sessions" / "0a1b2c3d"
    session.mkdir(parents=True)
    (session / "tool.pid").write_text(f'{{"toolId":"{TOOL_ID}"}}')
    return tmp_path / "my data"


@pytest.fixture
def tool(data_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Yield what a session of that folder left running."""
    process = subprocess.Popen(
        [sys.executable, "-c", LONG_PROGRAM],
        env={"CONNECT_TOOL_ID": TOOL_ID},
        stdin=subprocess.PIPE,
    )
    with process:
        yield process
        process.kill()


def clean_host(*arguments: str | Path) -> tuple[int, str, str]:
    ended = subprocess.run(
        [ROOT / "scripts" / "clean-host", *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_a_folder_without_sessions_is_said_so(tmp_path: Path) -> None:
    assert clean_host("--data-dir", tmp_path) == (0, f"Nothing of {tmp_path} is running.\n", "")


def test_each_process_is_one_line_and_the_hint_names_the_folder(
    data_dir: Path, tool: subprocess.Popen[bytes]
) -> None:
    code, shown, _ = clean_host("--data-dir", data_dir)
    line, hint = shown.splitlines()
    assert code == 0
    assert line.split()[0] == str(tool.pid)
    assert len(line) <= 120
    assert line.isprintable()
    command = shlex.split(hint.removeprefix("End them with: "))
    assert command == ["make", "clean-host", "YES=1", f"DATA_DIR={data_dir}"]


def test_what_nobody_uses_is_ended(data_dir: Path, tool: subprocess.Popen[bytes]) -> None:
    assert clean_host("--end", "--data-dir", data_dir)[0] == 0
    assert tool.wait(SECONDS_MAX) != 0


def test_sessions_of_a_studios_up_that_runs_are_ended_only_when_asked_for(
    data_dir: Path, tool: subprocess.Popen[bytes]
) -> None:
    with folder.locked(data_dir):
        code, shown, _ = clean_host("--data-dir", data_dir)
        assert code == 0
        assert "belong to a `studios up` that runs" in shown
        assert "YES=1" not in shown
        code, _, said = clean_host("--end", "--data-dir", data_dir)
        assert code == 1
        assert "IN_USE=1" in said
        assert tool.poll() is None
        assert clean_host("--end", "--in-use", "--data-dir", data_dir)[0] == 0
    assert tool.wait(SECONDS_MAX) != 0


def test_an_empty_folder_name_is_refused() -> None:
    code, shown, said = clean_host("--data-dir", "")
    assert (code, shown) == (2, "")
    assert said.startswith("Error: --data-dir is empty")
