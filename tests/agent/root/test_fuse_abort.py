"""Who hangs in a dead data link is ended by aborting it, and by nothing else."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from agent.root.fuse_abort import Connection, connections_below
from agent.root.mountinfo import parse
from tests.support.session_rig import SessionRig
from tests.support.waiting import until

MOUNTS = parse(
    "30 1 8:1 / / rw - ext4 /dev/disk rw\n"
    "31 30 0:50 / /a/root/data rw - fuse link rw\n"
    "32 30 0:51 / /a/root/data/below rw - fuse.s3 link rw\n"
    "33 30 0:50 / /a/root/again rw - fuse link rw\n"
    "34 30 0:52 / /a/rooted rw - fuse.other link rw\n"
    "35 30 0:53 / /a/root/proc rw - proc proc rw\n"
    "36 30 0:54 / /sys/fs/fuse/connections rw - fusectl fusectl rw\n"
    "37 30 7:3 / /a/root/disk rw - fuseblk /dev/loop3 rw\n"
)


def test_connections_of_the_folder_are_chosen_and_of_no_other() -> None:
    assert connections_below(MOUNTS, "/a/root") == (
        Connection(50, "/a/root/data"),
        Connection(51, "/a/root/data/below"),
        Connection((7 << 20) + 3, "/a/root/disk"),
    )
    assert connections_below(MOUNTS, "/a/root/data/below") == (
        Connection(51, "/a/root/data/below"),
    )
    assert connections_below(MOUNTS, "/elsewhere") == ()


def state_of(pid: int) -> str:
    """Return the letter that `ps` shows; empty once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def hang_in(rig: SessionRig, path: str) -> int:
    """Have a process of the session read there; return the host's pid of it once it hangs."""
    before = set(rig.ask("status")["processes"])
    assert rig.ask("hang", path=path)["heard"] == "mounted"
    rig.ask("start", arguments=["cat", f"{path}/object"], wait=False)
    assert rig.ask("hear_hang")["heard"] == "reading"
    pid: int
    (pid,) = set(rig.ask("status")["processes"]) - before
    os.kill(pid, signal.SIGKILL)
    until(lambda: state_of(pid) == "D", what="the wait that no signal ends")
    return pid


def test_abort_ends_what_sigkill_does_not_and_leaves_other_links_alone(folder: Path) -> None:
    with SessionRig(folder) as rig:
        aborted, other = hang_in(rig, "/workspace/data/dead"), hang_in(rig, "/workspace/other")
        answer = rig.ask("abort_fuse", path="/workspace/data")
        assert answer == {"aborted": ["/workspace/data/dead"]}
        until(lambda: state_of(aborted) == "", what="the end of the process")
        assert state_of(other) == "D"  # the control: the signal alone did nothing
        assert rig.ask("abort_fuse", path="/workspace/data") == answer  # again does no harm
        assert rig.ask("abort_fuse", path="/")["aborted"] == [
            "/workspace/data/dead",
            "/workspace/other",
        ]
        until(lambda: state_of(other) == "", what="the end of the other")
    assert rig.leftovers() == []
