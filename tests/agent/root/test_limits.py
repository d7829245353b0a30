"""What a session may use, kept and counted by the kernel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.session_rig import SessionRig
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY_BYTES = 200 * 1024**2
PROCESSES = 100
PYTHON = "/usr/bin/python3"


@pytest.fixture(scope="module")
def session(folder: Path) -> Iterator[SessionRig]:
    resources = {"memory_bytes": MEMORY_BYTES, "processes": PROCESSES, "cpus": 1.0}
    with SessionRig(folder, resources=resources) as rig:
        assert rig.ask("status")["gives_up"] == []
        yield rig
    assert rig.leftovers() == []


def test_memory_bomb_ends_itself_and_is_named(session: SessionRig) -> None:
    eat = "x = bytearray(2 * 10**9); print(len(x))"
    bomb = f"cp /usr/bin/python3 /root/greedy; exec /root/greedy -c '{eat}'"
    before = session.ask("status")["memory_kill_count"]
    result = session.run(bomb)
    assert result.code == -9
    assert "2000000000" not in result.output
    until(lambda: session.ask("status")["memory_kill_count"] > before, what="the count")
    assert "greedy" in session.ask("status")["memory_kills"]
    assert session.start("echo alive").output == "alive\n"


def test_many_small_processes_out_of_memory_do_not_take_the_session_along(
    session: SessionRig,
) -> None:
    """The first process is larger than each of them, and outside of their cgroup."""
    bomb = (
        "import os, time\n"
        "for _ in range(60):\n"
        "    if os.fork() == 0:\n"
        "        hold = b'x' * 9_000_000\n"
        "        time.sleep(2); os._exit(0)\n"
        "time.sleep(2)\n"
    )
    before = session.ask("status")["memory_kill_count"]
    session.run_python(bomb)
    until(lambda: session.ask("status")["memory_kill_count"] > before, what="the count")
    assert session.start("echo alive").output == "alive\n"


def test_fork_bomb_is_stopped_and_programs_can_still_be_started(session: SessionRig) -> None:
    bomb = (
        "import os, time\n"
        "count = 0\n"
        "while True:\n"
        "    try:\n"
        "        if os.fork() == 0: time.sleep(100); os._exit(0)\n"
        "    except BlockingIOError: break\n"
        "    count += 1\n"
        "open('/root/forked', 'w').write(str(count))\n"
        "time.sleep(100)\n"
    )
    session.ask("start", arguments=[PYTHON, "-c", bomb], wait=False)
    until(lambda: Path(session.volume, "upper/root/forked").exists(), what="the bomb")
    assert 50 < int(Path(session.volume, "upper/root/forked").read_text()) <= PROCESSES
    until(lambda: session.ask("status")["process_limit_hits"] > 0, what="the limit's name")
    count = session.ask("enter", arguments=[PYTHON, "-c", "print('in')"])
    assert count["output"] == "in\n"
    assert session.ask("start", arguments=["/bin/echo", "tool"])["output"] == "tool\n"
    session.ask("enter", arguments=["/bin/bash", "-c", "kill -KILL -1"])
    until(lambda: len(session.ask("status")["processes"]) < 5, what="the bomb's end")


def test_zombies_are_reaped_by_the_first_process(session: SessionRig) -> None:
    orphans = (
        "import os\n"
        "for _ in range(2000):\n"
        "    if os.fork() == 0:\n"
        "        if os.fork() == 0: os._exit(0)\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
    )
    assert session.run_python(orphans).code == 0
    until(lambda: "Z" not in session.run("ps ax -o stat=").output, what="the last zombie's end")


def test_processor_time_is_held_back(folder: Path) -> None:
    """By the kernel's account: how long it took on the wall proves nothing on a busy machine."""
    with SessionRig(folder, resources={"cpus": 0.1}) as rig:
        before = times_held_back(rig)
        rig.ask("start", arguments=[PYTHON, "-c", "while True: pass"], wait=False)
        until(lambda: times_held_back(rig) > before, what="the limit")
    assert rig.leftovers() == []


def times_held_back(rig: SessionRig) -> int:
    accounts = [cgroup / "cpu.stat" for cgroup in rig.cgroups()]
    text = "".join(path.read_text() for path in accounts if path.exists())
    return sum(int(line.split()[1]) for line in text.splitlines() if "nr_throttled" in line)


def test_use_is_that_of_all_programs_also_ended_ones(session: SessionRig) -> None:
    before = session.ask("use")["cpu_seconds"]
    session.run_python("import time\nwhile time.process_time() < 0.3: pass")
    assert session.ask("use")["cpu_seconds"] >= before + 0.3


def test_memory_in_use_is_what_programs_hold_and_not_the_page_cache(session: SessionRig) -> None:
    held = 50 * 1024**2
    read = "head -c 100M /dev/zero > /root/big; cat /root/big > /dev/null"
    assert session.run(read).code == 0
    hold = f"import time; held = b'x' * {held}; open('/root/held', 'w'); time.sleep(100)"
    assert session.ask("use")["memory_bytes"] < held
    pid = session.ask("start", arguments=[PYTHON, "-c", hold], wait=False)["pid"]
    until(lambda: session.ask("use")["memory_bytes"] >= held, what="the account of it")
    assert 1 <= session.ask("use")["processes"] <= 3
    session.run(f"kill -KILL {pid}; rm /root/big")


def test_session_can_neither_see_nor_leave_its_cgroup(session: SessionRig) -> None:
    shown = session.run("cut -d: -f3 /proc/self/cgroup | sort -u").output
    assert shown == "/\n"
    assert session.run("find /sys/fs/cgroup -name '*.procs'").output == ""
    for pid in session.ask("status")["processes"]:
        assert session.name in Path(f"/proc/{pid}/cgroup").read_text()


def test_agent_and_first_process_are_outside_of_the_limits(session: SessionRig) -> None:
    first = next(line for line in session.leftovers() if line.endswith("studio-init")).split()[0]
    for pid in (first, str(session.pid)):
        assert session.name not in Path(f"/proc/{pid}/cgroup").read_text()
    adjustment = int(Path(f"/proc/{session.pid}/oom_score_adj").read_text())
    assert adjustment == -900 or "agent" in session.ask("status")["precautions"][0]
    assert Path(f"/proc/{first}/oom_score_adj").read_text().strip() == "0"


def test_session_cannot_protect_itself_from_memory_kills(session: SessionRig) -> None:
    """The control: it may give itself up, and take that back."""
    for how in (session.run, session.start):
        adjust = "echo {} > /proc/self/oom_score_adj"
        assert how(f"{adjust.format(500)} && {adjust.format(0)}").code == 0
        assert how(adjust.format(-1)).code != 0
