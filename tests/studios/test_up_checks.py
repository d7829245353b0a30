"""What `studios up` refuses to start with: one sentence each, and nothing changed."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from common.secret import Secret
from studios.credentials import load_local
from studios.failures import CommandError
from studios.up import checks, command, folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from studios.surroundings import Surroundings
    from studios.up.plan import Plan
    from tests.studios.conftest import Studios

TEMPLATE = """
name = "jupyterlab"
title = "JupyterLab"
tool = "JupyterLab"
icon = "jupyter"
tag = "4.6.1-0.1.0"
port = 8080
command = ["{command}"]
"""


@contextmanager
def refused(*words: str) -> Iterator[None]:
    with pytest.raises(CommandError) as caught:
        yield
    sentence = caught.value.message
    for word in words:
        assert word in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_without_root_it_says_so() -> None:
    with refused("root", "sudo"):
        checks.check_privilege(1000)
    checks.check_privilege(0)


def test_a_port_in_use_names_who_uses_it(busy_port: int) -> None:
    with refused(f"Port {busy_port} is in use by ", f"(process {os.getpid()})", "--port"):
        checks.check_port("127.0.0.1", busy_port)


def test_an_address_that_is_not_ours_is_named() -> None:
    with refused("192.0.2.1", "--host"):  # reserved for documentation, RFC 5737
        checks.check_port("192.0.2.1", 9191)


def test_a_port_whose_connections_are_still_closing_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with socket.create_connection(address) as client:
            accepted, _ = server.accept()
            accepted.close()  # the side that closes first keeps the address in TIME_WAIT
            client.recv(1)
    checks.check_port(*address)


def test_a_missing_tool_names_the_installer(tmp_path: Path) -> None:
    (tmp_path / "jupyterlab").mkdir()
    template = tmp_path / "jupyterlab" / "template.toml"
    template.write_text(TEMPLATE.format(command="/nowhere/start"))
    with refused("JupyterLab is not installed", "/nowhere/start", "scripts/install"):
        checks.check_tools(tmp_path)
    template.write_text(TEMPLATE.format(command="/bin/sh"))
    checks.check_tools(tmp_path)
    template.write_text("name = ")
    with refused("template.toml"):
        checks.check_tools(tmp_path)


def test_a_data_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with refused("not a folder", "--data-dir"):
        checks.check_data_dir(tmp_path / "file" / "data")
    with refused("not a folder", "--data-dir"):
        checks.check_data_dir(tmp_path / "file")
    checks.check_data_dir(tmp_path / "new" / "deep")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with refused("107", "--data-dir"):
        checks.check_socket_path(tmp_path / ("x" * 100) / "control-plane.sock")


def test_one_process_at_a_time_has_the_folder(tmp_path: Path) -> None:
    data = tmp_path / "data"
    folder.check_not_locked(data)
    with folder.locked(data):
        assert data.stat().st_mode & 0o777 == 0o700
        with refused("another `studios up`"):
            folder.check_not_locked(data)
        with refused("another `studios up`"), folder.locked(data):
            pass
    with folder.locked(data):
        pass


def test_the_administrators_token_is_for_the_owner_of_the_folder_only(tmp_path: Path) -> None:
    for token in ("first", "second"):
        folder.write_access(tmp_path, url="http://x:1", admin_token=Secret(token))
        found = load_local(tmp_path)
        assert found is not None
        assert (found.url, found.token.reveal()) == ("http://x:1", token)
        assert (tmp_path / "admin-token").stat().st_mode & 0o777 == 0o600


def file_at(folder_path: Path) -> None:
    (folder_path / "file").write_text("")


@pytest.mark.parametrize("below", [".", "below"])
async def test_a_file_in_the_place_of_the_folder_is_one_sentence(
    studios: Studios, tmp_path: Path, below: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "check_tools", lambda _: None)
    file_at(tmp_path)
    result = await studios("up", "--data-dir", str(tmp_path / "file" / below))
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert f"{tmp_path}/file is not a folder" in result.stderr


async def test_an_empty_folder_name_is_refused_and_nothing_made(
    studios: Studios, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for empty in ("", " "):
        result = await studios("up", "--data-dir", empty)
        assert result.exit_code == 2
        assert "--data-dir is empty" in result.stderr
    assert os.listdir(tmp_path) == []


@pytest.fixture
def umask_restored() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


async def test_whatever_is_made_while_it_runs_is_for_its_owner_only(
    studios: Studios, tmp_path: Path, umask_restored: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_a_database(plan: Plan, _: Surroundings) -> int:
        (plan.data_dir / "studios.db").touch()
        return 0

    monkeypatch.setattr(checks, "check_all", lambda _: ())
    monkeypatch.setattr(command, "_run", make_a_database)
    monkeypatch.chdir(tmp_path)
    result = await studios("up", "--data-dir", "relative")
    assert (result.exit_code, result.stderr) == (0, f"Everything is kept in {tmp_path}/relative.\n")
    assert os.stat("relative/studios.db").st_mode & 0o777 == 0o600


async def test_the_folder_of_the_environment_is_the_default(
    studios: Studios, tmp_path: Path, umask_restored: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Path] = []

    def check_all(plan: Plan) -> tuple[str, ...]:
        used.append(plan.data_dir)
        return ()

    monkeypatch.setattr(checks, "check_all", check_all)
    monkeypatch.setattr(command, "_run", lambda *_: 0)
    assert (await studios("up")).exit_code == 0
    assert used == [tmp_path / "data"]


def test_a_folder_made_beforehand_is_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    checks.check_data_dir(tmp_path)
    with folder.locked(tmp_path):
        assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_use_is_not_closed_to_them(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "work").mkdir()
    checks.check_data_dir(tmp_path)
    (tmp_path / "letters").mkdir()
    with refused("other things", "--data-dir"):
        checks.check_data_dir(tmp_path)
    (tmp_path / "studios.db").touch()
    checks.check_data_dir(tmp_path)


async def test_up_that_cannot_start_changes_nothing(
    studios: Studios, tmp_path: Path, busy_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "check_tools", lambda _: None)
    data = tmp_path / "up"
    result = await studios("up", "--data-dir", str(data), "--port", str(busy_port))
    assert result.exit_code == 1
    assert "in use by" in result.stderr
    with pytest.raises(FileNotFoundError):
        os.stat(data)


@pytest.mark.parametrize(
    "wrong",
    [
        ("--port", "0"),
        ("--port", "http"),
        ("--domain", "a_b"),
        ("--domain", "x/y"),
        ("--work-dir", "ftp://x"),
        ("--work-dir", "relative/folder"),
    ],
)
async def test_options_that_mean_nothing_are_refused(
    studios: Studios, wrong: tuple[str, str]
) -> None:
    result = await studios("up", *wrong)
    assert result.exit_code == 2
    assert wrong[0] in result.stderr


def test_every_failure_has_an_exit_code_of_its_own() -> None:
    """But the failure of something else's check, which is a failure like any other."""
    kinds = [kind for kind in CommandError.__subclasses__() if "exit_code" in vars(kind)]
    assert [CommandError.exit_code, *(kind.exit_code for kind in kinds)] == [1, 2, 3, 4, 5, 6]
