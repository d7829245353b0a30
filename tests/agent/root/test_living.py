"""What people do in a session works, and stays in it. On the real kernel, with the real tools."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.session_rig import Result, SessionRig
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOK_AT_THE_HOST = r"""
find /etc /usr /var/lib/dpkg -xdev -printf '%p %m %U %G %s %T@ %l\n'
find /root -maxdepth 1 -printf '%p %m %U %G\n'
find /etc /var/lib/dpkg -xdev -type f -print0 | xargs -0 sha256sum
"""
"""Everything by its attributes, and by its contents where a change might keep them. Of /root only
what lies in it: others work there meanwhile."""


def host() -> set[str]:
    look = ["bash", "-c", LOOK_AT_THE_HOST]
    found = subprocess.run(look, capture_output=True, check=True).stdout
    return set(found.decode(errors="surrogateescape").splitlines())


@pytest.fixture(scope="module")
def session(folder: Path) -> Iterator[SessionRig]:
    before = host()
    assert any(line.endswith("/var/lib/dpkg/status") for line in before)
    with SessionRig(folder) as rig:
        until(lambda: rig.ask("status")["way_out_problem"] is None, what="a way out")
        yield rig
    assert rig.leftovers() == []
    assert host() ^ before == set()


def test_session_has_its_own_name_processes_and_folders(session: SessionRig) -> None:
    result = session.run(
        "hostname; cat /etc/hostname; getent hosts $(hostname); ps ax --no-headers | wc -l"
    )
    lines = result.output.splitlines()
    assert lines[:2] == [session.name, session.name]
    assert lines[2].split()[0] == "127.0.1.1"
    assert int(lines[3]) < 10
    assert (
        session.run("ls -A /home /root /srv /mnt /media /boot /tmp | grep -v :").output.strip()
        == ""
    )


def test_what_is_written_is_in_the_upper_directory_only(session: SessionRig) -> None:
    assert (
        session.run(
            "mkdir -p /root/work && echo mine > /root/work/note && echo x >> /etc/issue"
        ).code
        == 0
    )
    assert (session.volume / "upper/root/work/note").read_text() == "mine\n"
    assert (session.volume / "upper/etc/issue").exists()
    assert not Path("/root/work/note").exists()


def test_every_mount_is_nodev_but_single_nodes_and_terminals(session: SessionRig) -> None:
    table = session.run("cat /proc/self/mountinfo").output.splitlines()
    open_mounts = [line.split() for line in table if "nodev" not in line.split()[5].split(",")]
    points = {fields[4] for fields in open_mounts}
    for point in points - {"/dev/pts"}:
        assert session.run(f"[ -c {point} ] || [ ! -s {point} ] && [ ! -d {point} ]").code == 0, (
            point
        )
    assert len(table) > 10


def test_packages_with_a_daemon_user_and_setuid_files_install(session: SessionRig) -> None:
    assert not Path("/usr/bin/at").exists()
    result = session.run(
        "apt-get update -q && apt-get install -q -y --no-install-recommends at sudo iputils-ping"
    )
    assert result.code == 0, result.output[-2000:]
    assert session.run("stat -c '%A %U' /usr/bin/at").output.split() == ["-rwsr-sr-x", "daemon"]
    assert (
        session.run("adduser --system --group studio-daemon && getent passwd studio-daemon").code
        == 0
    )


def test_sudo_su_and_ping_work(session: SessionRig) -> None:
    session.run("apt-get install -q -y --no-install-recommends sudo iputils-ping")
    assert session.run("useradd -m ann; su - ann -c 'id -un'").output.strip() == "ann"
    result = session.run("sudo -u ann id -un; sudo -u ann sudo -n true")
    assert result.output.splitlines()[0] == "ann"
    assert "unable to resolve" not in result.output
    result = session.run(
        "echo 'ann ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/ann; su ann -c 'sudo id -u'"
    )
    assert result.output.strip() == "0"
    assert session.run("ping -c1 -W5 127.0.0.1 && su ann -c 'ping -c1 -W5 10.0.2.2'").code == 0


def test_names_resolve_and_https_passes(session: SessionRig) -> None:
    """To where apt gets its packages from, the only place that a test may know."""
    find = ["apt-get", "indextargets", "--format", "$(SITE)"]
    site = subprocess.run(find, capture_output=True, text=True, check=True).stdout.split()[0]
    name = site.split("/")[2]
    fetch = f"curl -sS -m 30 -o /dev/null -w '%{{http_code}}' https://{name}/"
    outside = subprocess.run(["bash", "-c", fetch], capture_output=True, text=True, check=True)
    assert session.run(f"getent hosts {name}").code == 0
    assert session.run(fetch) == Result(0, outside.stdout)


def test_shell_on_a_terminal_controls_its_jobs(session: SessionRig) -> None:
    prompt = "ready> "
    forever = "while :; do sleep 0.1; done"
    job = f"bash -c 'trap \"echo i''n front again\" CONT; echo i''n front; {forever}'\n"
    result = session.type(
        (prompt, "tty\n"),
        (prompt, job),
        ("in front", "\x1a"),
        (prompt, "jobs\n"),
        (prompt, "fg\n"),
        ("in front again", "\x03"),
        (prompt, "exit 7\n"),
    )
    assert result.code == 7, result.output
    assert "Stopped" in result.output
    assert "/dev/pts/" in result.output
    assert "no job control" not in result.output


def test_background_daemon_lives_on_and_is_reaped(session: SessionRig) -> None:
    session.run("setsid sh -c 'sleep 0.2; echo done > /root/daemon-done' >/dev/null 2>&1 &")
    until(lambda: session.run("cat /root/daemon-done").code == 0, what="the daemon's work")
    assert "defunct" not in session.run("ps ax").output


def test_debugger_stops_and_reads_a_process_of_the_session(session: SessionRig) -> None:
    script = "sleep 100 & gdb -p $! -batch -ex 'print $pc' -ex 'info threads' 2>&1; kill $!"
    output = session.run(script).output
    assert "ptrace" not in output, output
    assert "$1 = (void (*)()) 0x" in output, output
    assert "* 1 " in output, output
    assert session.run("strace -f -o /root/trace true && grep -q exit_group /root/trace").code == 0


def test_profiler_reads_a_python_process_that_somebody_else_started(session: SessionRig) -> None:
    install = session.run("pip install -q --break-system-packages py-spy 2>&1")
    assert install.code == 0, install.output[-2000:]
    wait = "import time\ndef named_function(): time.sleep(1000)\nnamed_function()"
    arguments = ["/usr/bin/python3", "-c", wait]
    pid = session.ask("start", arguments=arguments, wait=False)["pid"]
    profile = f"py-spy dump --pid {pid} 2>&1"
    until(lambda: "named_function" in session.run(profile).output, what="the stack")
    session.run(f"kill {pid}")


def test_data_links_mounted_later_appear_inside(session: SessionRig) -> None:
    assert session.run("cat /workspace/data/link/object").code != 0
    session.ask("mount", path="/workspace/data/link")
    assert session.run("cat /workspace/data/link/object").output == "linked"
    assert "studios-link" not in Path("/proc/self/mountinfo").read_text()


def test_tool_gets_an_exit_code_a_signal_and_a_clean_environment(session: SessionRig) -> None:
    assert session.start("exit 5").code == 5
    assert session.start("kill -TERM $$").code == -15
    assert session.start("exec no-such-program-here").code == 127
    names = {line.partition("=")[0] for line in session.start("env").output.splitlines()}
    assert "RIG_SECRET" not in names
    assert names <= {"PATH", "HOME", "LANG", "TERM", "DEBIAN_FRONTEND", "PWD", "SHLVL", "_"}
    assert session.start("ulimit -c; trap '' TERM; grep SigIgn /proc/self/status").code == 0


def test_programs_inherit_no_descriptor_and_no_ignored_signal(session: SessionRig) -> None:
    script = (
        "import os; print(sorted(map(int, os.listdir('/proc/self/fd'))));"
        "print(open('/proc/self/status').read())"
    )
    for how in ("start", "enter"):
        answer = session.ask(how, arguments=["/usr/bin/python3", "-c", script])
        assert answer["output"].startswith("[0, 1, 2, 3]"), answer
        assert "SigBlk:\t0000000000000000" in answer["output"]
    ignored = session.start("grep SigIgn /proc/self/status").output.split()[1]
    assert int(ignored, 16) == 0


def test_leaving_an_exec_ends_its_program(session: SessionRig) -> None:
    session.ask("enter_and_leave")
    until(lambda: "sleep 1000" not in session.run("ps ax").output, what="the program's end")


def test_passwords_of_the_host_are_not_inside(session: SessionRig) -> None:
    hashes = [line.split(":")[1] for line in Path("/etc/shadow").read_text().splitlines()]
    inside = session.run("cat /etc/shadow").output
    for value in hashes:
        assert len(value) < 5 or value not in inside
    assert session.run("grep -c ^root: /etc/shadow").output.strip() == "1"
