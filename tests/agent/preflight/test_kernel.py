"""The check on this machine's kernel, with single things taken away for a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.root.confinement import DEFAULT_CAPABILITIES
from common.findings import Findings, Verdict
from common.wire import decode
from tests.agent.preflight.host import lacks
from tests.agent.volume.kernel import loop_devices
from tests.support.tree import ROOT
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS_MAX = 50
CHECK = (sys.executable, "-m", "agent", "--check", "--json", "--image", "host")
OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private", "bash", "-euc")
DEVICES_CGROUP = Path("/sys/fs/cgroup/devices")

DEV_WITHOUT = """
    mount -t tmpfs studios-test "$1"
    for name in null zero full random urandom tty loop-control net/tun kmsg; do
        if [ "$name" != "$0" ]; then
            mkdir -p "$(dirname "$1/$name")" && cp -a "/dev/$name" "$1/$name"
        fi
    done
    mount --move "$1" /dev
    shift; exec "$@"
"""
HIDDEN = 'mount --bind /dev/null "$0"; exec "$@"'
"""A file that is no program any more, and no library."""
FILTERED = """
import os, sys
from agent.root.confinement import PROFILES
from agent.root.kernel import set_seccomp_filter
from agent.root.seccomp import seccomp_profile
from agent.root.seccomp_filter import compile_filter
set_seccomp_filter(compile_filter(seccomp_profile(PROFILES["default"])))
os.execv(sys.argv[1], sys.argv[1:])
"""
HANGING = """
import asyncio, sys
from agent.preflight.trials import run_trials
trials = asyncio.run(run_trials(["volume", "namespaces"], sys.argv[1], seconds_max=2.0))
print(trials["volume"].failed_at, trials["volume"].reason)
assert trials["namespaces"].failed_at == ""
"""
QUICK = """
import asyncio, os, sys
from pathlib import Path
from agent.preflight.check import check
from common.wire import encode

def watch(event, arguments):
    assert event not in {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec"}

sys.addaudithook(watch)
descriptors = os.listdir("/proc/self/fd")
os.write(1, encode(asyncio.run(check(Path(sys.argv[1]), "host"))))
assert len(os.listdir("/proc/self/fd")) == len(descriptors)
"""


@dataclass(frozen=True)
class Answer:
    code: int
    found: Findings

    @property
    def lacking(self) -> dict[str, Verdict]:
        return {finding.need: finding.verdict for finding in lacks(self.found)}

    def problem(self, need: str) -> str:
        return next(f.problem for f in self.found.findings if f.need == need)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where volumes are to lie: on the machine's own disk."""
    path = Path(tempfile.mkdtemp(prefix="studios-test-check-", dir="/var/lib"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    path = tmp_path / "empty"
    path.mkdir()
    return path


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def ask(folder: Path, *prefix: str | Path) -> Answer:
    """Return what the check finds when it is started by `prefix`."""
    ended = run(*prefix, *CHECK, "--state-dir", folder)
    assert ended.stdout, ended.stderr
    return Answer(ended.returncode, decode(ended.stdout, Findings))


@pytest.fixture(scope="module")
def as_it_is() -> set[str]:
    """What this machine lacks anyway: all of it can be done without."""
    answer = ask(Path("/var/lib"))
    assert answer.code == 0, answer.lacking
    return set(answer.lacking)


def test_this_machine_can_run_sessions_and_everything_was_tried(folder: Path) -> None:
    answer = ask(folder)
    assert (answer.code, answer.found.thorough) == (0, True)
    tried = {finding.need for finding in answer.found.findings if "tried" in finding.need}
    names = ("namespaces", "mounts", "confinement", "volume", "way out")
    assert tried == {f"{name}, tried" for name in names}


def test_it_leaves_nothing_behind(folder: Path) -> None:
    own_mounts = Path("/proc/self/mountinfo")

    def traces() -> list[str]:
        cgroups = [name for _, names, _ in os.walk("/sys/fs/cgroup") for name in names]
        return [
            *os.listdir(folder),
            *loop_devices(folder),
            *(line for line in own_mounts.read_text().splitlines() if "studios-check" in line),
            *(name for name in cgroups if name.startswith("studios-check")),
        ]

    assert ask(folder).code == 0
    until(lambda: traces() == [], what="a machine as it was")


@pytest.mark.parametrize(
    ("capability", "need", "verdict"),
    [
        ("sys_admin", "SYS_ADMIN", Verdict.MISSING),
        ("mknod", "capabilities", Verdict.MISSING),
        pytest.param("audit_write", "capabilities", Verdict.MISSING, marks=pytest.mark.soak),
        ("net_admin", "NET_ADMIN", Verdict.WEAKER),
    ],
)
def test_a_capability_taken_away_is_the_only_thing_named(
    folder: Path, as_it_is: set[str], capability: str, need: str, verdict: Verdict
) -> None:
    answer = ask(folder, "setpriv", "--bounding-set", f"-{capability}")
    added = {name: found for name, found in answer.lacking.items() if name not in as_it_is}
    assert added == {need: verdict}
    assert capability.upper() in answer.problem(need)
    assert answer.code == (1 if verdict is Verdict.MISSING else 0)


def test_a_container_engines_capabilities_and_two_more_are_enough(
    folder: Path, as_it_is: set[str]
) -> None:
    """`--privileged` would give all. Without NET_ADMIN all but the network works."""
    for more, lacking in ((("sys_admin", "net_admin"), set()), (("sys_admin",), {"NET_ADMIN"})):
        kept = ",".join(f"+{name}" for name in sorted((*DEFAULT_CAPABILITIES, *more)))
        answer = ask(folder, "setpriv", "--bounding-set", f"-all,{kept}")
        assert set(answer.lacking) - as_it_is - {"SYS_RESOURCE", "kernel's log"} == lacking
        assert answer.code == 0


@pytest.mark.parametrize(
    ("device", "need", "verdict"),
    [
        ("loop-control", "loop devices", Verdict.MISSING),
        ("net/tun", "/dev/net/tun", Verdict.WEAKER),
    ],
)
def test_a_device_that_a_container_does_not_show_is_named(
    folder: Path, as_it_is: set[str], empty: Path, device: str, need: str, verdict: Verdict
) -> None:
    answer = ask(folder, *OWN_MOUNTS, DEV_WITHOUT, device, empty)
    assert answer.lacking[need] is verdict
    assert set(answer.lacking) - as_it_is == {need}
    assert "does not exist" in answer.problem(need)


def test_loop_devices_that_the_device_cgroup_forbids_are_named(
    folder: Path, as_it_is: set[str]
) -> None:
    if not DEVICES_CGROUP.is_dir():
        pytest.skip("this machine has no device cgroup of version 1 to forbid devices with")
    cgroup = DEVICES_CGROUP / f"studios-test-{os.getpid()}"
    cgroup.mkdir()
    try:
        (cgroup / "devices.deny").write_text("b 7:* rwm")
        enter = 'echo 0 >"$0/cgroup.procs"; exec "$@"'
        answer = ask(folder, "bash", "-euc", enter, cgroup)
        assert set(answer.lacking) - as_it_is == {"loop devices' nodes"}
        assert answer.code == 1
    finally:
        cgroup.rmdir()


@pytest.mark.parametrize(
    ("program", "need", "verdict"),
    [
        ("mkfs.btrfs", "mkfs.btrfs", Verdict.WEAKER),
        ("slirp4netns", "slirp4netns", Verdict.WEAKER),
    ],
)
def test_a_program_that_is_not_there_is_named_with_its_package(
    folder: Path, as_it_is: set[str], program: str, need: str, verdict: Verdict
) -> None:
    path = shutil.which(program)
    assert path is not None
    answer = ask(folder, *OWN_MOUNTS, HIDDEN, path)
    assert set(answer.lacking) - as_it_is == {need}
    assert answer.lacking[need] is verdict
    assert "apt-get install" in answer.found.remedy(
        next(finding for finding in lacks(answer.found) if finding.need == need)
    )


def test_a_filter_of_system_calls_is_named(folder: Path, as_it_is: set[str]) -> None:
    answer = ask(folder, sys.executable, "-c", FILTERED)
    assert set(answer.lacking) - as_it_is == {"system calls"}
    assert "refused by a seccomp filter" in answer.problem("system calls")
    for call in ("mount", "setns", "unshare", "pivot_root", "keyctl", "move_mount"):
        assert call in answer.problem("system calls")


def test_a_user_namespace_is_named_alone(folder: Path) -> None:
    answer = ask(folder, "unshare", "--user", "--map-root-user")
    assert answer.code == 1
    assert "machine's user namespace" in answer.lacking
    assert not {"SYS_ADMIN", "system calls", "btrfs"} & set(answer.lacking)


def test_a_folder_in_memory_or_without_room_is_named(folder: Path, as_it_is: set[str]) -> None:
    small = 'mount -t tmpfs -o size=300m studios-test "$0"; exec "$@"'
    answer = ask(folder, *OWN_MOUNTS, small, folder)
    assert set(answer.lacking) - as_it_is <= {"disk of its own", "room for a volume", "direct I/O"}
    assert answer.lacking["disk of its own"] is Verdict.WEAKER
    assert answer.lacking["room for a volume"] is Verdict.MISSING


def test_a_part_of_the_system_on_a_disk_of_its_own_is_named_unless_carried(
    folder: Path, as_it_is: set[str]
) -> None:
    own_opt = 'mount -t tmpfs studios-test /opt; exec "$@"'
    answer = ask(folder, *OWN_MOUNTS, own_opt, "-")
    assert set(answer.lacking) - as_it_is == {"one file system for the system"}
    ended = run(*OWN_MOUNTS, own_opt, "-", *CHECK, "--carried", "/opt", "--state-dir", folder)
    assert ended.returncode == 0


def test_a_trial_that_hangs_has_a_limit_and_is_ended(folder: Path) -> None:
    note, fake = folder / "pid", folder / "mkfs"
    fake.write_text(f"#!/bin/bash\necho $$ >'{note}'\nexec sleep 1000\n")
    fake.chmod(0o755)
    mkfs = shutil.which("mkfs.btrfs")
    assert mkfs is not None
    instead = 'mount --bind "$0" "$1"; shift; exec "$@"'
    ended = run(*OWN_MOUNTS, instead, fake, mkfs, sys.executable, "-c", HANGING, folder)
    assert ended.stdout == "trying it no end after 2 s\n", ended.stderr
    hung = Path("/proc", note.read_text().strip(), "comm")
    until(lambda: not hung.exists(), what="the end of what hung")


def test_the_quick_check_starts_nothing_and_finds_the_same(
    folder: Path, as_it_is: set[str]
) -> None:
    ended = run(sys.executable, "-c", QUICK, folder)
    assert ended.stdout, ended.stderr
    found = decode(ended.stdout, Findings)
    assert not found.thorough
    assert {finding.need for finding in lacks(found)} <= as_it_is
    ended = run("setpriv", "--bounding-set", "-sys_admin", sys.executable, "-c", QUICK, folder)
    assert [finding.need for finding in lacks(decode(ended.stdout, Findings))] == ["SYS_ADMIN"]


def test_without_json_it_is_lines_for_people(folder: Path) -> None:
    words = [word for word in CHECK if word != "--json"]
    ended = run("setpriv", "--bounding-set", "-sys_admin", *words, "--state-dir", folder)
    assert ended.returncode == 1
    assert "✓ root: for everything below\n" in ended.stdout
    assert "✗ SYS_ADMIN: for mounts and namespaces\n    the capability" in ended.stdout
