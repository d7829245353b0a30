"""Finding and ending processes: the table, the family, orphans, a predecessor's leftovers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from agent.orphans import OrphanReaper
from agent.supervisor.family import Family, members, send_signal
from agent.supervisor.predecessor import (
    ToolRecord,
    end_leftovers,
    leftovers,
    read_record,
    write_record,
)
from agent.supervisor.proctable import (
    ProcessFacts,
    descendants,
    parse_stat,
    read_process,
    read_table,
)
from common.clock import SystemClock
from tests.support.agent_rig import lives, pid_in, reap_adopted, until

if TYPE_CHECKING:
    from pathlib import Path

AGENT, SESSION = 10, 5


def table(*rows: tuple[int, int, int]) -> dict[int, ProcessFacts]:
    """Rows are pid, parent, session."""
    return {
        pid: ProcessFacts(pid, parent, session, start_ticks=pid * 100, zombie=False)
        for pid, parent, session in rows
    }


def test_a_command_s_name_may_hold_anything() -> None:
    name = ") R 1 (a b) ("
    fields = " ".join(str(number) for number in range(7, 60))
    facts = parse_stat(f"42 ({name}) Z 7 8 9 {fields}")
    assert (facts.pid, facts.parent, facts.session, facts.zombie) == (42, 7, 9, True)


def test_this_process_is_in_the_table() -> None:
    facts = read_table()[os.getpid()]
    assert facts.parent == os.getppid()
    assert facts.session == os.getsid(0)
    assert facts == read_process(os.getpid())


def test_the_family_is_what_left_the_agent_s_session_and_all_below() -> None:
    processes = table(
        (AGENT, 1, SESSION),
        (11, AGENT, 11),  # the tool
        (12, 11, 11),
        (13, 12, 13),  # a kernel
        (14, AGENT, 14),  # an adopted daemon
        (15, 14, 14),
        (20, AGENT, SESSION),  # the agent's helper
        (21, 20, SESSION),
        (30, AGENT, 30),  # there before the tool
        (31, 30, 30),
        (40, 1, 40),  # a stranger
    )
    found = members(processes, agent=AGENT, session=SESSION, before={(30, 3000)})
    assert found == {11, 12, 13, 14, 15}


@given(st.lists(st.integers(0, 30), min_size=1, max_size=30), st.integers(1, 30))
def test_descendants_are_those_whose_line_of_parents_meets_the_root(
    parents: list[int], root: int
) -> None:
    processes = table(*((pid, parent, 1) for pid, parent in enumerate(parents, start=1)))

    def is_below(pid: int) -> bool:
        seen = set()
        while pid in processes and pid not in seen:
            seen.add(pid)
            pid = processes[pid].parent
            if pid == root:
                return True
        return False

    assert descendants(processes, [root]) == {pid for pid in processes if is_below(pid)}


def test_leftovers_are_the_recorded_tool_what_carries_its_id_and_all_below() -> None:
    processes = table((11, 1, 11), (12, 11, 11), (13, 1, 13), (14, 13, 14), (99, 1, 99))
    record = ToolRecord(tool_id="x", pid=11, start_ticks=1100)
    assert leftovers(processes, record, {13}.__contains__, own_pid=1) == {11, 12, 13, 14}
    assert leftovers(processes, record, {13, 99}.__contains__, own_pid=99) == {11, 12, 13, 14}
    reused = ToolRecord(tool_id="x", pid=11, start_ticks=1)
    assert leftovers(processes, reused, set().__contains__, own_pid=1) == set()


def sleeper(environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "600"], start_new_session=True, env=environment)


def pending(pid: int) -> int:
    """Return the set of signals that wait for a process, as the kernel writes it."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        lines = dict(line.split(":\t", 1) for line in file)
    return int(lines["ShdPnd"], 16)


def test_a_signal_never_reaches_another_process_that_got_the_pid() -> None:
    process = sleeper()
    facts = read_process(process.pid)
    assert facts is not None
    other = ProcessFacts(process.pid, facts.parent, facts.session, facts.start_ticks - 1, False)
    process.send_signal(signal.SIGSTOP)  # a stopped process keeps its signals pending
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    send_signal(other, signal.SIGTERM)
    assert pending(process.pid) == 0
    send_signal(facts, signal.SIGTERM)
    assert pending(process.pid) == 1 << (signal.SIGTERM - 1)
    send_signal(facts, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    send_signal(facts, signal.SIGKILL)  # gone: nothing happens


async def test_leftovers_are_found_by_their_id_and_ended_and_nobody_else(tmp_path: Path) -> None:
    record = tmp_path / "tool.pid"
    write_record(record, "the-id", None)
    mine = sleeper({"CONNECT_TOOL_ID": "the-id", "PATH": "/bin:/usr/bin"})
    other = sleeper({"CONNECT_TOOL_ID": "the-id-2", "PATH": "/bin:/usr/bin"})
    assert await end_leftovers(record, SystemClock()) == 1
    assert mine.wait() == -signal.SIGTERM
    assert other.poll() is None
    other.kill()
    other.wait()
    assert read_record(record) is None


async def test_a_record_cut_short_is_no_obstacle(tmp_path: Path) -> None:
    record = tmp_path / "tool.pid"
    record.write_bytes(b'{"toolId": "x')
    assert await end_leftovers(record, SystemClock()) == 0


@pytest.mark.usefixtures("subreaper")
async def test_processes_that_are_started_while_the_family_ends_are_ended_too(
    tmp_path: Path,
) -> None:
    source = f"""
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
with open({str(tmp_path / "forker.new")!r}, "w") as file:
    file.write(str(os.getpid()))
os.rename({str(tmp_path / "forker.new")!r}, {str(tmp_path / "forker")!r})
for _ in range(2000):
    if os.fork() == 0:
        time.sleep(600)
    time.sleep(0.005)
"""
    family = Family()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", source, start_new_session=True
    )
    await pid_in(tmp_path / "forker")
    await until(lambda: len(family.living()) > 5, what="it forks")
    assert await family.end(grace_seconds=0.2, clock=SystemClock())
    assert family.living() == []
    assert await process.wait() == -signal.SIGKILL
    reap_adopted()


@pytest.mark.usefixtures("subreaper")
async def test_orphans_are_reaped_and_the_loop_s_own_children_are_left_to_it() -> None:
    reaper = OrphanReaper()
    own = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    orphan = await orphan_of_a_shell()
    assert lives(orphan)
    os.kill(orphan, signal.SIGKILL)

    def reaped() -> bool:
        reaper.reap()
        return read_process(orphan) is None

    await until(reaped, what="the orphan is reaped")
    own.kill()
    assert await own.wait() == -signal.SIGKILL


def test_a_child_that_its_starter_has_not_reaped_yet_is_left_to_it_for_a_round() -> None:
    own = sleeper()
    own.kill()
    os.waitid(os.P_PID, own.pid, os.WEXITED | os.WNOWAIT)
    reaper = OrphanReaper()
    assert reaper.reap() == 0
    assert own.wait() == -signal.SIGKILL
    assert reaper.reap() == 0


async def orphan_of_a_shell() -> int:
    """Return the pid of a process whose parent has ended."""
    shell = await asyncio.create_subprocess_exec(
        "sh",
        "-c",
        "sleep 600 >/dev/null & echo $!",
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    output, _ = await shell.communicate()
    return int(output)
