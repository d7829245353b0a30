"""scripts/clean-host, with processes, mounts, loop devices and cgroups like those of sessions."""

from __future__ import annotations

import contextlib
import secrets
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from common.wire import encode
from studios.up import folder
from tests.support.tree import ROOT
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS_MAX = 60
LONG_PROGRAM = "import sys\n\n\n# \x1b[31m" + 200 * "long " + "\nsys.stdin.read()"
CGROUPS = next(
    path for path in map(Path, ("/sys/fs/cgroup/pids", "/sys/fs/cgroup")) if path.is_dir()
)


class Session:
    """A session's folder, and what a crash may have left of it."""

    def __init__(self, data_dir: Path) -> None:
        self.id = secrets.token_hex(4)
        self.folder = data_dir / "sessions" / self.id
        self.folder.mkdir(parents=True)
        self.image = self.folder / "studios-volume.btrfs"
        self.cgroup = CGROUPS / f"studios-{self.id}"
        self._leaving = contextlib.ExitStack()

    def close(self) -> None:
        self._leaving.close()

    def process(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", LONG_PROGRAM, *arguments], stdin=subprocess.PIPE
        )
        self._leaving.enter_context(process)
        self._leaving.callback(process.kill)
        return process

    def agent(self) -> subprocess.Popen[bytes]:
        """Start what looks like one."""
        return self.process("-m", "agent", "--spec-file", str(self.folder / "spec-1-x"))

    def first_process(self, *, ticks_off: int = 0) -> subprocess.Popen[bytes]:
        """Start one and note it, or one whose number the noted one had before."""
        process = self.process()
        stat = Path(f"/proc/{process.pid}/stat").read_text()
        ticks = int(stat.rpartition(") ")[2].split()[19]) + ticks_off
        note = encode({"pid": process.pid, "startTicks": ticks})
        (self.folder / "session.pid").write_bytes(note)
        return process

    def mount(self, name: str) -> Path:
        point = self.folder / name
        point.mkdir()
        run("mount", "-t", "tmpfs", "studios-test", point)
        self._leaving.callback(try_to, "umount", "--lazy", point)
        return point

    def loop_device(self, image: Path | None = None) -> str:
        image = image or self.image
        with image.open("wb") as file:
            file.truncate(1024**2)
        device = run("losetup", "--find", "--show", image).strip()
        self._leaving.callback(try_to, "losetup", "--detach", device)
        return device

    def make_cgroup(self) -> Path:
        self.cgroup.mkdir()
        self._leaving.callback(try_to, "rmdir", self.cgroup)
        return self.cgroup


def run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def try_to(*command: str | Path) -> None:
    subprocess.run(command, check=False, capture_output=True)


def is_bound(device: str, image: Path) -> bool:
    """Tell if it is bound to that image: others take a number that has become free."""
    file = Path("/sys/block", device.removeprefix("/dev/"), "loop", "backing_file")
    try:
        return file.read_text().strip() == str(image)
    except OSError:
        return False


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "my data"


@pytest.fixture
def session(data_dir: Path) -> Iterator[Session]:
    found = Session(data_dir)
    yield found
    found.close()


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
    said = f"Nothing of {tmp_path} is left on this machine.\n"
    assert clean_host("--data-dir", tmp_path) == (0, said, "")


def test_each_process_is_one_line_and_the_hint_names_the_folder(
    data_dir: Path, session: Session
) -> None:
    first = session.first_process()
    code, shown, _ = clean_host("--data-dir", data_dir)
    line, hint = shown.splitlines()
    assert code == 0
    assert line.split()[0] == str(first.pid)
    assert len(line) <= 120
    assert line.isprintable()
    command = shlex.split(hint.removeprefix("End them with: "))
    assert command == ["make", "clean-host", "YES=1", f"DATA_DIR={data_dir}"]
    assert first.poll() is None


def test_agents_and_first_processes_that_nobody_uses_are_ended(
    data_dir: Path, session: Session
) -> None:
    agent, first = session.agent(), session.first_process()
    code, shown, said = clean_host("--end", "--data-dir", data_dir)
    assert (code, said) == (0, "")
    assert [line.split()[0] for line in shown.splitlines()] == [str(agent.pid), str(first.pid)]
    assert agent.wait(SECONDS_MAX) != 0
    assert first.wait(SECONDS_MAX) != 0


def test_a_process_that_only_has_the_number_of_a_first_process_is_not_ended(
    data_dir: Path, session: Session
) -> None:
    other = session.first_process(ticks_off=1)
    assert clean_host("--end", "--data-dir", data_dir)[1].startswith("Nothing of ")
    assert other.poll() is None


def test_what_a_crash_left_is_shown_and_removed(data_dir: Path, session: Session) -> None:
    points = [session.mount("volume"), session.mount("mounts")]
    device = session.loop_device()
    cgroup = session.make_cgroup()
    _, shown, _ = clean_host("--data-dir", data_dir)
    assert sorted(line.strip() for line in shown.splitlines()[:-1]) == sorted(
        [
            *(f"mount  {point}" for point in points),
            f"loop  {device} {session.image}",
            f"cgroup  {cgroup}",
        ]
    )
    code, _, said = clean_host("--end", "--data-dir", data_dir)
    assert (code, said) == (0, "")
    assert not any(point.is_mount() for point in points)
    assert not is_bound(device, session.image)
    assert not cgroup.exists()
    assert session.image.exists()


def test_what_is_not_of_a_session_of_that_folder_stays(data_dir: Path, session: Session) -> None:
    with contextlib.ExitStack() as leaving:
        other = Session(data_dir.parent / "other data")
        leaving.callback(other.close)
        point, device, cgroup = other.mount("volume"), other.loop_device(), other.make_cgroup()
        own_disk = session.mount("archive")  # somebody's own, in a session's folder
        own_image = session.folder / "somebody-elses.img"
        own_device = session.loop_device(own_image)
        inhabited = session.make_cgroup()
        (inhabited / "cgroup.procs").write_text(str(other.process().pid))
        assert clean_host("--end", "--data-dir", data_dir)[1].startswith("Nothing of ")
        assert point.is_mount()
        assert own_disk.is_mount()
        assert is_bound(device, other.image)
        assert is_bound(own_device, own_image)
        assert cgroup.exists()
        assert inhabited.exists()
        other.close()
        until(lambda: not (inhabited / "cgroup.procs").read_text(), what="an empty cgroup")


def test_what_a_living_agent_stands_on_is_not_shown_as_left(
    data_dir: Path, session: Session
) -> None:
    agent = session.agent()
    session.loop_device()
    session.make_cgroup()
    _, shown, _ = clean_host("--data-dir", data_dir)
    assert [line.split()[0] for line in shown.splitlines()[:-1]] == [str(agent.pid)]


def test_sessions_of_a_studios_up_that_runs_are_ended_only_when_asked_for(
    data_dir: Path, session: Session
) -> None:
    first, device = session.first_process(), session.loop_device()
    with folder.locked(data_dir):
        code, shown, _ = clean_host("--data-dir", data_dir)
        assert code == 0
        assert "belong to a `studios up` that runs" in shown
        assert "YES=1" not in shown
        code, _, said = clean_host("--end", "--data-dir", data_dir)
        assert code == 1
        assert "IN_USE=1" in said
        assert first.poll() is None
        assert is_bound(device, session.image)
        assert clean_host("--end", "--in-use", "--data-dir", data_dir)[0] == 0
    assert first.wait(SECONDS_MAX) != 0
    assert not is_bound(device, session.image)


def test_an_empty_folder_name_is_refused() -> None:
    code, shown, said = clean_host("--data-dir", "")
    assert (code, shown) == (2, "")
    assert said.startswith("Error: --data-dir is empty")
