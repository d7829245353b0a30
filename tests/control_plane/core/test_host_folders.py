"""What of this machine the sessions of the `local` engine see."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from common.clock import SteppingClock
from common.session_spec import RootSpec, WorkDirectory, parse
from control_plane import app
from control_plane.config import InvalidConfigError, embedded
from control_plane.engines import host_folders
from control_plane.engines.engine import EngineRefusedError
from control_plane.engines.host_folders import hiding, problem_of_carried, work_folder
from control_plane.engines.local import LocalEngine
from tests.control_plane.core.engine_contract import SESSION
from tests.control_plane.core.local_rig import exists

if TYPE_CHECKING:
    from pathlib import Path

    from common.session_spec import SessionSpec
    from tests.control_plane.core.local_rig import LocalRig


async def submitted(local: LocalRig, spec: SessionSpec) -> SessionSpec:
    """Have the engine start it; return what its agent was given."""
    await local.engine.submit(spec)
    seen = local.session / "seen-spec.json"
    await exists(seen)
    return parse(seen.read_bytes())


def with_work_dir(spec: SessionSpec, url: str) -> SessionSpec:
    return msgspec.structs.replace(spec, work_directory=WorkDirectory(url=url))


async def test_the_image_is_this_machine_less_what_the_platform_keeps(
    local: LocalRig, tmp_path: Path
) -> None:
    shown = tmp_path / "shown"
    shown.mkdir()
    local.engine = LocalEngine(
        local.folder,
        local.clock,
        hidden=(tmp_path / "data",),
        carried=(shown,),
        agent_command=local.command,
    )
    spec = with_work_dir(local.spec(SESSION, 1), "file:///srv/our%20work")
    given = (await submitted(local, spec)).root
    assert given.image == "host"
    assert given.carried == (str(shown),)
    wanted = {str(local.folder), str(tmp_path / "data"), "/srv/our work", sys.prefix}
    assert wanted <= set(given.hidden)
    assert str(host_folders.PROJECT) in given.hidden


async def test_links_are_hidden_where_they_lead(local: LocalRig, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    spec = with_work_dir(local.spec(SESSION, 1), (tmp_path / "link").as_uri())
    hidden = (await submitted(local, spec)).root.hidden
    assert str(tmp_path / "real") in hidden
    assert str(tmp_path / "link") not in hidden


async def test_work_directory_in_a_bucket_hides_nothing_here(local: LocalRig) -> None:
    given = await submitted(local, with_work_dir(local.spec(SESSION, 1), "s3://bucket/usr"))
    assert not {"/usr", "/bucket/usr"} & set(given.root.hidden)


@pytest.mark.parametrize("work_dir", ["file:///", "file:///opt", "file:///opt/studios/"])
async def test_tool_that_no_session_could_see_is_refused(local: LocalRig, work_dir: str) -> None:
    spec = with_work_dir(local.spec(SESSION, 1), work_dir)
    tool = msgspec.structs.replace(spec.tool, command=("/opt/studios/jupyterlab/start",))
    with pytest.raises(EngineRefusedError, match=r"can't see /.*start can't be started"):
        await local.engine.submit(msgspec.structs.replace(spec, tool=tool))
    assert local.living(SESSION) == 0


async def test_what_the_caller_says_of_the_root_does_not_count(local: LocalRig) -> None:
    root = RootSpec(image="container", carried=("/",))
    given = await submitted(local, msgspec.structs.replace(local.spec(SESSION, 1), root=root))
    assert given.root.image == "host"
    assert given.root.carried == ()


def test_packages_of_the_machines_own_python_are_not_hidden(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(host_folders, "PROJECT", tmp_path / "python3.11" / "dist-packages")
    assert host_folders.program_folders() == (type(tmp_path)(sys.prefix),)
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert host_folders.program_folders() == ()


def test_a_folder_hides_what_is_in_it_and_no_namesake() -> None:
    assert hiding("/opt/studios/tool", ["/srv", "/opt"]) == "/opt"
    assert hiding("/opt", ["/opt"]) == "/opt"
    assert hiding("/anything", ["/"]) == "/"
    assert hiding("/opt2/tool", ["/opt"]) is None
    assert hiding("/opt/../srv/tool", ["/srv"]) == "/srv"


def test_only_a_file_url_is_a_folder_here() -> None:
    assert str(work_folder("file:///srv/a%20b")) == "/srv/a b"
    assert work_folder("s3://bucket/folder") is None


class TestCarried:
    @pytest.fixture
    def kept(self, tmp_path: Path) -> Path:
        """The data folder."""
        (tmp_path / "outer" / "data" / "sessions").mkdir(parents=True)
        return tmp_path / "outer" / "data"

    def test_a_folder_may_be_carried(self, tmp_path: Path, kept: Path) -> None:
        (tmp_path / "outer" / "data2").mkdir()
        assert problem_of_carried(str(tmp_path / "outer" / "data2"), [kept]) is None

    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("relative", "not an absolute path"),
            ("", "not an absolute path"),
            ("/nowhere/at/all", "not a folder of this machine"),
            ("/etc/passwd", "not a folder of this machine"),
            ("/", "sees already"),
            ("//", "sees already"),
            ("/usr/..", "sees already"),
            ("/proc", "lies in /proc"),
            ("/sys/fs", "lies in /sys"),
            ("/dev/shm", "lies in /dev"),
            ("/run", "lies in /run"),
            ("/var/run", "lies in /run"),
        ],
    )
    def test_others_are_refused_with_a_sentence(self, path: str, words: str) -> None:
        problem = problem_of_carried(path, [])
        assert problem is not None
        assert words in problem
        assert problem.endswith(".")

    def test_what_holds_everybodys_data_is_refused(self, tmp_path: Path, kept: Path) -> None:
        link = tmp_path / "link"
        link.symlink_to(kept / "sessions")
        for path in (kept, kept.parent, kept / "sessions", link):
            problem = problem_of_carried(str(path), [kept])
            assert problem is not None
            assert f"would show sessions {kept}" in problem


def test_everything_that_the_control_plane_keeps_is_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[dict[str, object]] = []
    monkeypatch.setattr(app, "LocalEngine", lambda *_, **options: made.append(options))
    config = embedded(data_dir=tmp_path / "data", images_dir=tmp_path)
    config = replace(config, carried=(tmp_path,))
    with pytest.raises(InvalidConfigError, match=f"{tmp_path} would show sessions {tmp_path}/data"):
        app._local_engine(config, SteppingClock())
    (tmp_path / "shown").mkdir()
    app._local_engine(replace(config, carried=(tmp_path / "shown",)), SteppingClock())
    assert made == [{"hidden": (tmp_path / "data",), "carried": (tmp_path / "shown",)}]
