"""What the process that saves files is to its machine, and to its agent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.checkpointing.worker.precedence import adjusted
from common.secret import Secret
from common.session_spec import WorkDirectory
from tests.support.saver_rig import (
    CHECKPOINT,
    begun,
    is_alive,
    saving,
    until,
    work_directory,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


MB = 1024**2


async def test_it_shows_no_secret_and_stands_by_itself(tmp_path: Path) -> None:
    where = WorkDirectory(
        url="s3://bucket/path",
        credentials={
            "access_key_id": Secret("an-id"),
            "secret_access_key": Secret("not-to-be-seen"),
        },
        endpoint="http://127.0.0.1:9",  # nobody listens: asked again for some time
    )
    async with saving(where) as saver:
        asking = asyncio.get_running_loop().create_task(saver.newest(CHECKPOINT))
        await until(lambda: saver.pid is not None)
        pid = saver.pid
        assert pid is not None
        await until(lambda: os.readlink(f"/proc/{pid}/exe") == os.path.realpath(sys.executable))
        proc = Path(f"/proc/{pid}")
        assert b"not-to-be-seen" not in (proc / "cmdline").read_bytes()
        assert b"not-to-be-seen" not in (proc / "environ").read_bytes()
        assert os.getsid(pid) == os.getpgid(pid) == pid
        mounts = (os.readlink(f"/proc/{name}/ns/mnt") for name in (pid, "self"))
        assert len(set(mounts)) == 1
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_it_gives_way_to_people_who_work_and_not_before(tmp_path: Path, folder: Path) -> None:
    async with saving(work_directory(tmp_path)) as saver:
        await begun(saver)
        pid = saver.pid
        assert pid is not None
        own, group = os.getpriority(os.PRIO_PROCESS, 0), _group(pid)
        saved = await saver.write(folder, changes=None)
        assert _places(pid) == {(10, "best-effort: prio 7")}
        assert _group(pid) == group.replace("nice 0", "nice 10")
        await saver.rest()
        await saver.restore(saved, tmp_path / "restored", over=[])
        await saver.write(folder, changes=[], final=True)
        assert saver.pid is not None
        assert _places(saver.pid) == {(own, _ionice(os.getpid()))}
        assert _group(saver.pid) == group


def _places(pid: int) -> set[tuple[int, str]]:
    """Return the places that a process's threads have for processors and disk."""
    threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    return {(os.getpriority(os.PRIO_PROCESS, thread), _ionice(thread)) for thread in threads}


def _group(pid: int) -> str:
    """Return the place of its group of processes; nothing if none was made for its session."""
    group = Path(f"/proc/{pid}/autogroup")
    return group.read_text().partition(" ")[2] if group.exists() else ""


def _ionice(pid: int) -> str:
    done = subprocess.run(["ionice", "-p", str(pid)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


_AGENT = """
import asyncio, sys
from agent.checkpointing.process import SaverProcess
from common.session_spec import WorkDirectory
async def main():
    saver = SaverProcess(WorkDirectory(url=sys.argv[1]))
    await saver.newest("00000000000000c1")
    print("pid", saver.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_it_ends_with_its_agent(tmp_path: Path) -> None:
    with _agent(work_directory(tmp_path)) as agent:
        pid = _said_pid(agent)
        os.kill(pid, signal.SIGSTOP)  # it can't see that its agent is gone
    await until(lambda: not is_alive(pid))


def _said_pid(agent: subprocess.Popen[bytes]) -> int:
    assert agent.stdout is not None
    said = next(line for line in agent.stdout if line.startswith(b"pid"))
    return int(said.split()[1])


@contextmanager
def _agent(where: WorkDirectory) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", _AGENT, where.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("agents", "own"), [(-900, -500), (-1000, -500), (0, 0), (300, 300)])
def test_when_memory_is_short_it_goes_before_its_agent_and_after_a_session(
    agents: int, own: int
) -> None:
    assert adjusted(agents) == own
