"""Commands that are printed work where the person stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from studios.__main__ import COMMANDS
from studios.credentials import write_private
from studios.invocation import as_typed, find_program
from tests.support.fake_api import TOKEN

if TYPE_CHECKING:
    from tests.studios.conftest import Studios
    from tests.support.fake_api import FakeApi


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a checkout with the program in it, called from there."""
    program = tmp_path / ".venv" / "bin" / "studios"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "argv", [".venv/bin/studios"])
    return tmp_path


def test_what_commands_do_not_need_they_do_not_wait_for() -> None:
    asking = sorted(set(COMMANDS) - {"checkpoints", "up", "doctor"})
    script = (
        "import sys; from studios.__main__ import cli\n"
        f"for name in {asking}: assert cli.get_command(None, name)\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert not set(ran.stdout.split()) & {"checkpoints", "control_plane", "agent", "connect_proxy"}


@pytest.mark.parametrize(("argument", "code"), [("--version", 0), ("--nonsense", 2)])
def test_a_command_is_over_once_all_is_said(argument: str, code: int) -> None:
    """Whatever threads would do to an interpreter that takes itself apart."""
    script = (
        "import atexit, os; atexit.register(os.abort)\nfrom studios.__main__ import main; main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, argument], capture_output=True, check=False, text=True
    )
    assert ran.returncode == code
    assert "studios" in ran.stdout + ran.stderr


def test_output_that_finds_no_room_is_no_success() -> None:
    script = "import sys; from studios.__main__ import _end; sys.stdout.write('x'); _end(0)"
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONUNBUFFERED": ""},  # what is written is kept until the end
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (ran.returncode, ran.stderr) == (
        1,
        b"Error: the output could not be written: No space left on device.\n",
    )


def test_commands_are_complete_and_the_rest_is_left_alone() -> None:
    sentence = "Stop the `studios up`, or look with `studios view x` in the studios."
    assert as_typed(sentence, program="studios", data_dir=None) == sentence
    assert as_typed(sentence, program="/a b/studios", data_dir=Path("/d")) == (
        "Stop the `studios up`, or look with `STUDIOS_DATA_DIR=/d '/a b/studios' view x` "
        "in the studios."
    )


def test_the_program_is_named_as_it_can_be_called(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_program() == ".venv/bin/studios"
    monkeypatch.setenv("PATH", f"{checkout}/.venv/bin")
    assert find_program() == "studios"
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "argv", [f"{checkout}/.venv/bin/studios"])
    monkeypatch.chdir(checkout / "elsewhere")
    assert find_program() == f"{checkout}/.venv/bin/studios"


def test_another_program_of_that_name_is_not_ours(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / "elsewhere" / "studios").touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{checkout}/elsewhere")
    assert find_program() == ".venv/bin/studios"


async def test_hints_of_failures_name_the_folder_that_was_named(
    studios: Studios, tmp_path: Path
) -> None:
    result = await studios("view", "x")
    assert f"`STUDIOS_DATA_DIR={tmp_path}/data studios list`" in result.stderr


async def test_a_folder_that_is_named_wins_over_what_login_stored(
    studios: Studios, api: FakeApi, tmp_path: Path
) -> None:
    elsewhere = "http://studio.localhost:1"
    stored = tmp_path / "home" / ".config" / "studios"
    stored.mkdir(parents=True)
    write_private(stored / "credentials", f'{{"url":"{elsewhere}","token":"t"}}'.encode())
    assert (await studios("list", environ={})).exit_code == 5
    data = tmp_path / "data"
    data.mkdir()
    (data / "url").write_text(api.url)
    (data / "admin-token").write_text(TOKEN)
    assert (await studios("list", environ={})).exit_code == 0
