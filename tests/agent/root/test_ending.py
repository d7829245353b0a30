"""However a session ends, nothing of it is left on the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.session_rig import PROJECT, SessionRig
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

STUBBORN = (
    "trap '' TERM HUP INT; setsid sh -c 'while :; do sleep 1; done' & "
    "exec 9> /root/open-file; echo data >&9; while :; do sleep 1; done"
)


def way_out_pids(rig: SessionRig) -> list[str]:
    children = f"/proc/{rig.pid}/task/{rig.pid}/children"
    with open(children, encoding="utf-8") as file:
        pids = file.read().split()
    return [pid for pid in pids if "slirp4netns" in command_of(pid)]


def command_of(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def test_orderly_end_leaves_nothing(folder: Path) -> None:
    with SessionRig(folder) as rig:
        rig.ask("start", arguments=["sh", "-c", STUBBORN], wait=False)
        until(lambda: rig.run("cat /root/open-file").output == "data\n", what="the stubborn start")
        assert rig.leftovers() != []
        rig.close()
        assert rig.leftovers() == []
        assert (rig.volume / "upper/root/open-file").read_text() == "data\n"


def test_killed_agent_leaves_nothing_mounted_or_running(folder: Path) -> None:
    with SessionRig(folder) as rig:
        until(lambda: rig.ask("status")["way_out_problem"] is None, what="a way out")
        rig.ask("start", arguments=["sh", "-c", STUBBORN], wait=False)
        until(lambda: rig.run("cat /root/open-file").output == "data\n", what="the stubborn start")
        processes = rig.ask("status")["processes"]
        outbound = way_out_pids(rig)
        assert processes
        assert outbound
        rig.kill()
        until(
            lambda: not [pid for pid in processes if os.path.exists(f"/proc/{pid}")],
            what="the end of the session's processes",
        )
        until(lambda: not any(map(command_of, outbound)), what="the end of the way out")
        assert [left for left in rig.leftovers() if "cgroup" not in left] == []
        assert all((cgroup / "cgroup.procs").read_text() == "" for cgroup in rig.cgroups())


def test_next_run_finds_everything_and_takes_over_what_a_killed_one_left(folder: Path) -> None:
    with SessionRig(folder) as rig:
        rig.run("mkdir -p /root/deep && echo kept > /root/deep/file && rm /etc/issue")
        rig.kill()
        assert rig.cgroups() != []
        rig.open()
        assert rig.run("cat /root/deep/file").output == "kept\n"
        assert rig.run("ls /etc/issue").code != 0
        rig.close()
        assert rig.leftovers() == []


def test_agent_learns_that_the_first_process_was_killed(folder: Path) -> None:
    with SessionRig(folder) as rig:
        inside = rig.ask("start", arguments=["sleep", "1000"], wait=False)
        assert inside["pid"] > 1
        until(lambda: len(_called_init(rig)) == 1, what="a program that is not its parent's copy")
        subprocess.run(["kill", "-KILL", *_called_init(rig)], check=True)
        until(lambda: "failed" in rig.ask("start", arguments=["true"]), what="the bad news")
    assert rig.leftovers() == []


def _called_init(rig: SessionRig) -> list[str]:
    return [line.split()[0] for line in rig.leftovers() if line.endswith("studio-init")]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        ({"volume": "/nowhere"}, "can't be made"),
        ({"name": "x" * 70}, "can't be made"),
    ],
)
def test_root_that_cannot_be_made_says_why_and_leaves_nothing(
    spoil: dict[str, str], sentence: str, folder: Path
) -> None:
    with SessionRig(folder) as rig:
        rig.close()
        rig.override(**spoil)
        with pytest.raises(AssertionError, match=sentence):
            rig.open()
        rig.close()
        assert rig.leftovers() == []


def test_broken_places_for_mounts_do_not_keep_a_session_from_starting(folder: Path) -> None:
    """What a user left at /proc, /dev and the like is moved out of the way."""
    with SessionRig(folder) as rig:
        rig.close()
        upper = rig.volume / "upper"
        for name, target in (("run", "/etc"), ("dev", "../../../../../tmp"), ("sys", "proc")):
            (upper / name).symlink_to(target)
        (upper / "etc").mkdir()
        (upper / "etc/hosts").symlink_to("/proc/self/environ")
        (upper / "etc/resolv.conf").symlink_to("../run/somewhere/resolv.conf")
        rig.open()
        assert rig.run("hostname").output.strip() == rig.name
        assert rig.run("getent hosts $(hostname) && grep nameserver /etc/resolv.conf").code == 0
        assert rig.run("[ -c /dev/null ] && [ -d /sys/class ] && ! [ -e /run/hosts ]").code == 0
    assert rig.leftovers() == []


def test_interpreter_is_read_only_even_when_nobody_runs_it(tmp_path: Path) -> None:
    """What held against `#!/proc/self/exe`: without it, the link is open for writing."""
    script = (
        "import os, subprocess, sys\n"
        "from agent.root.launching import _read_only\n"
        "folder, confined = sys.argv[1], sys.argv[2] == 'read-only'\n"
        "hold = 'import os, sys; print(os.getpid(), flush=True); sys.stdin.read()'\n"
        "with _read_only(folder) as fd:\n"
        "    path = f'/proc/self/fd/{fd}/program' if confined else f'{folder}/program'\n"
        "    process = subprocess.Popen(['cat'], executable=path, pass_fds=(fd,),\n"
        "                               stdin=subprocess.PIPE)\n"
        "    link = os.open(f'/proc/{process.pid}/exe', os.O_PATH)\n"
        "    process.stdin.close(); process.wait()\n"
        "try: os.open(f'/proc/self/fd/{link}', os.O_WRONLY); print('open')\n"
        "except OSError as error: print(error.strerror)\n"
    )
    shutil.copy("/bin/cat", tmp_path / "program")
    outcomes = {
        how: subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), how],
            capture_output=True,
            text=True,
            check=True,
            cwd=PROJECT,
        ).stdout.strip()
        for how in ("read-only", "plain")
    }
    assert outcomes == {"read-only": "Read-only file system", "plain": "open"}
