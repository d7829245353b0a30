"""The kernel's table of processes, the note of a session's first one, and orphans."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from agent.orphans import OrphanReaper
from agent.proctable import parse_stat, read_process
from agent.session_record import SessionRecord, remove_record, write_record
from common.wire import decode
from tests.support.agent_rig import lives, until

if TYPE_CHECKING:
    from pathlib import Path


def test_a_command_s_name_may_hold_anything() -> None:
    name = ") R 1 (a b) ("
    fields = " ".join(str(number) for number in range(7, 60))
    facts = parse_stat(f"42 ({name}) Z 7 8 9 {fields}")
    assert (facts.pid, facts.parent, facts.session, facts.zombie) == (42, 7, 9, True)


def test_this_process_is_read_as_it_is() -> None:
    facts = read_process(os.getpid())
    assert facts is not None
    assert (facts.parent, facts.session, facts.zombie) == (os.getppid(), os.getsid(0), False)


def test_a_process_that_has_ended_is_a_zombie_until_it_is_reaped_and_then_nothing() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    ended = read_process(process.pid)
    assert ended is not None
    assert ended.zombie
    process.wait()
    assert read_process(process.pid) is None


def test_the_note_of_a_first_process_tells_it_from_a_later_one_with_its_pid(
    tmp_path: Path,
) -> None:
    path = tmp_path / "session.pid"
    path.write_bytes(b"of a former run, cut sh")
    write_record(path, os.getpid())
    own = read_process(os.getpid())
    assert own is not None
    assert decode(path.read_bytes(), SessionRecord) == SessionRecord(
        pid=os.getpid(), start_ticks=own.start_ticks
    )
    assert [found.name for found in tmp_path.iterdir()] == ["session.pid"]
    remove_record(path)
    remove_record(path)
    assert list(tmp_path.iterdir()) == []


def test_a_first_process_that_has_ended_already_leaves_no_note(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    write_record(tmp_path / "session.pid", process.pid)
    assert list(tmp_path.iterdir()) == []


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
    own = subprocess.Popen(["sleep", "600"], start_new_session=True)
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
