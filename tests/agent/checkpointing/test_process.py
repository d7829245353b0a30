"""The process that saves files: it may end at any time, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from agent.checkpointing import orders
from agent.checkpointing.saver import (
    DamagedCheckpointError,
    NoRoomError,
    ParentBusyError,
    ParentGoneError,
    SaverDiedError,
    SaveRefusedError,
    StorageTroubleError,
    SupersededError,
)
from agent.checkpointing.worker.precedence import adjusted
from common.secret import Secret
from common.session_spec import WorkDirectory
from tests.support.checkpoint_rig import seen
from tests.support.full_disk import small_disk
from tests.support.saver_rig import (
    CHECKPOINT,
    OTHER,
    begun,
    is_alive,
    objects,
    saving,
    until,
    work_directory,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.checkpointing.facts import RestoreProgress, Saved, SaveProgress

MB = 1024**2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is saved."""
    path = tmp_path / "folder"
    path.mkdir()
    (path / "file").write_bytes(random.Random(1).randbytes(3 * MB))
    (path / "note").write_text("a note")
    return path


async def test_what_is_written_is_what_is_restored(tmp_path: Path, folder: Path) -> None:
    written: list[SaveProgress] = []
    made: list[RestoreProgress] = []
    async with saving(work_directory(tmp_path)) as saver:
        assert await saver.newest(CHECKPOINT) is None
        opened = await saver.open(CHECKPOINT, run_number=7, image="an image", parent=None)
        assert opened is None
        first = await saver.write(folder, changes=None, progress=written.append)
        (folder / "later").write_text("later")
        saved = await saver.write(folder, changes=[b"", b"later"], final=True)
        assert (first.generation, saved.generation) == (1, 2)
        assert (saved.checkpoint_id, saved.run_number, saved.image) == (CHECKPOINT, 7, "an image")
        assert saved.final
        assert not first.final
        assert saved.entries == 4
        assert saved.file_bytes == 3 * MB + len("a note") + len("later")
        assert 0 < saved.stored_bytes < first.stored_bytes
        assert await saver.newest(CHECKPOINT) == saved
        assert await saver.newest(CHECKPOINT, before=2) == first
        assert await saver.newest(OTHER) is None
        restored = await saver.restore(saved, tmp_path / "restored", over=[], progress=made.append)
        assert (restored.entries, restored.file_bytes) == (saved.entries, saved.file_bytes)
        assert seen(tmp_path / "restored") == seen(folder)
    assert written[-1].read_bytes <= saved.file_bytes


async def test_a_run_goes_on_from_what_another_has_left(tmp_path: Path, folder: Path) -> None:
    where = work_directory(tmp_path)
    async with saving(where) as saver, saving(where) as heir:
        await begun(saver)
        written = await saver.write(folder, changes=None)
        with pytest.raises(ParentBusyError) as busy:
            await heir.open(OTHER, run_number=2, image="", parent=written)
        assert busy.value.retry_helps
        parent = await heir.seal(CHECKPOINT, 2)
        assert parent == written
        assert await heir.seal(CHECKPOINT, 2) == parent, "again, as after a kill"
        first = await heir.open(OTHER, run_number=2, image="", parent=parent)
        assert first is not None
        assert (first.root, first.volume) == (parent.root, parent.volume + 1)
        with pytest.raises(SupersededError) as superseded:
            await saver.write(folder, changes=None)
        assert not superseded.value.retry_helps


async def test_the_next_call_after_a_kill_finds_everything_as_it_was(
    tmp_path: Path, folder: Path
) -> None:
    async with saving(work_directory(tmp_path)) as saver:
        await begun(saver)
        await saver.write(folder, changes=None)
        former = saver.pid
        assert former is not None
        os.kill(former, signal.SIGKILL)
        await until(lambda: saver.pid is None)
        (folder / "later").write_text("later")
        saved = await saver.write(folder, changes=[b"", b"later"])
        assert saved.generation == 2
        assert saved.entries == 4
        assert saver.pid != former
        await saver.rest()
        assert saver.pid is None
        assert (await saver.sweep()).records == 0
        assert saver.pid is None, "who hasn't written has nothing to sweep"
        assert (await saver.write(folder, changes=[])).generation == 3


@pytest.mark.timeout(240)  # twelve starts of a process, on a machine that may be busy
async def test_killed_at_any_point_a_write_is_there_or_is_not(tmp_path: Path, folder: Path) -> None:
    where = work_directory(tmp_path)
    rng = random.Random(2)
    async with saving(where) as saver:
        await begun(saver)
        saved = await saver.write(folder, changes=None)
        for number in range(12):
            (folder / f"new{number}").write_bytes(rng.randbytes(rng.choice([10, MB, 9 * MB])))
            there, pid = objects(where), saver.pid
            assert pid is not None
            writing = asyncio.get_running_loop().create_task(saver.write(folder, changes=None))

            def is_far_enough(
                writing: asyncio.Task[Saved] = writing, enough: int = there + number % 5
            ) -> bool:
                return objects(where) >= enough or writing.done()

            await until(is_far_enough)
            os.kill(pid, signal.SIGKILL)
            await asyncio.wait({writing})
            if died := writing.exception():
                assert isinstance(died, SaverDiedError)
                assert died.retry_helps
                assert "was killed" in str(died)
            await until(lambda: saver.pid is None)
            newest = await saver.newest(CHECKPOINT)
            assert newest is not None
            assert newest.generation in {saved.generation, saved.generation + 1}
            saved = await saver.write(folder, changes=[b"", f"new{number}".encode()])
        await saver.restore(saved, tmp_path / "restored", over=[])
    assert seen(tmp_path / "restored") == seen(folder)


async def test_a_list_of_changes_since_what_is_no_longer_stored_is_not_relied_on(
    tmp_path: Path, folder: Path
) -> None:
    where = work_directory(tmp_path)
    async with saving(where) as saver:
        await begun(saver)
        await saver.write(folder, changes=None)
        (folder / "second").write_text("in the second generation")
        second = await saver.write(folder, changes=None)
        await saver.rest()
        _record(where, second.generation).unlink()
        (folder / "third").write_text("in the third")
        third = await saver.write(folder, changes=[b"", b"third"])
        await saver.restore(third, tmp_path / "restored", over=[])
    assert seen(tmp_path / "restored") == seen(folder)


async def test_more_changes_than_can_be_told_are_found_out(tmp_path: Path, folder: Path) -> None:
    async with saving(work_directory(tmp_path)) as saver:
        await begun(saver)
        await saver.write(folder, changes=None)
        (folder / "later").write_text("later")
        saved = await saver.write(folder, changes=[b"x"] * (orders.CHANGES_MAX + 1))
        assert saved.entries == 4
        (folder / "last").write_text("last")
        told = [b"", b"last", *(b"nothing/%d" % number for number in range(60_000))]
        assert (await saver.write(folder, changes=told)).entries == 5


# ── Cancelling ───────────────────────────────────────────────────────────────


async def test_a_cancelled_write_ends_in_order_and_the_next_one_goes_on(
    tmp_path: Path, folder: Path
) -> None:
    async with saving(work_directory(tmp_path), cancel_seconds_max=50) as saver:
        await begun(saver)
        with (folder / "big").open("wb") as file:
            file.write(random.Random(3).randbytes(200 * MB))
        pid = saver.pid
        under_way = asyncio.Event()
        writing = asyncio.get_running_loop().create_task(
            saver.write(folder, changes=None, progress=lambda _: under_way.set())
        )
        await under_way.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        os.truncate(folder / "big", 10)
        assert (await saver.write(folder, changes=None)).entries == 4
        assert saver.pid == pid


async def test_cancelled_before_it_could_begin_it_ends_as_well(
    tmp_path: Path, folder: Path
) -> None:
    async with saving(work_directory(tmp_path), cancel_seconds_max=50) as saver:
        await begun(saver)
        pid = saver.pid
        for turns in range(6):
            writing = asyncio.get_running_loop().create_task(saver.write(folder, changes=None))
            for _ in range(turns):
                await asyncio.sleep(0)
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
        assert (await saver.write(folder, changes=None)).entries == 3
        assert saver.pid == pid


async def test_one_that_does_not_end_when_cancelled_is_killed(tmp_path: Path, folder: Path) -> None:
    async with saving(work_directory(tmp_path), cancel_seconds_max=0.05) as saver:
        await begun(saver)
        pid = saver.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        writing = asyncio.get_running_loop().create_task(saver.write(folder, changes=None))
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert not is_alive(pid)
        assert (await saver.write(folder, changes=None)).generation == 1


async def test_closing_ends_what_is_under_way(tmp_path: Path, folder: Path) -> None:
    async with saving(work_directory(tmp_path)) as saver:
        await begun(saver)
        pid = saver.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        writing = asyncio.get_running_loop().create_task(saver.write(folder, changes=None))
        waiting = asyncio.get_running_loop().create_task(saver.rest())
        await asyncio.sleep(0)
        await saver.close()
        await waiting
        with pytest.raises(SaverDiedError):
            await writing
        with pytest.raises(SaverDiedError, match="was ended") as ended:
            await saver.newest(CHECKPOINT)
        assert not ended.value.retry_helps
        assert not is_alive(pid)


# ── What goes wrong ──────────────────────────────────────────────────────────


async def test_a_work_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with saving(WorkDirectory(url=f"file://{tmp_path}/nowhere")) as saver:
        with pytest.raises(StorageTroubleError, match="nowhere doesn't exist") as missing:
            await begun(saver)
        assert not missing.value.retry_helps
    async with saving(WorkDirectory(url="http://nothing")) as saver:
        with pytest.raises(StorageTroubleError, match="not an address"):
            await begun(saver)


async def test_an_empty_work_directory_is_no_parent_without_files(tmp_path: Path) -> None:
    async with saving(work_directory(tmp_path)) as saver:
        with pytest.raises(ParentGoneError, match="no checkpoints in this work directory"):
            await saver.seal(CHECKPOINT, 2)


async def test_a_deleted_parent_is_missed_only_by_a_run_that_needs_it(
    tmp_path: Path, folder: Path
) -> None:
    where = work_directory(tmp_path)
    async with saving(where) as saver:
        await begun(saver)
        parent = await saver.write(folder, changes=None, final=True)
        await saver.open(OTHER, run_number=2, image="", parent=parent)
        _record(where, parent.generation).unlink()
        upper = tmp_path / "upper"
        upper.mkdir()
        await saver.rest()
        assert (await saver.write(upper, changes=None)).entries == parent.entries
        with pytest.raises(ParentGoneError, match="was deleted"):
            await saver.open("00000000000000c3", run_number=3, image="", parent=parent)
        with pytest.raises(ParentGoneError, match="was deleted"):
            await saver.restore(parent, tmp_path / "restored", over=[])


async def test_a_record_that_is_damaged_is_passed_over_and_named(
    tmp_path: Path, folder: Path
) -> None:
    where = work_directory(tmp_path)
    async with saving(where) as saver:
        await begun(saver)
        first = await saver.write(folder, changes=None)
        second = await saver.write(folder, changes=[])
        record = _record(where, second.generation)
        record.chmod(0o600)
        record.write_bytes(b"not what was written")
        found = await saver.newest(CHECKPOINT)
        assert found is not None
        assert (found.generation, found.root) == (first.generation, first.root)
        assert len(found.passed_over) == 1
        assert "0000000002" in found.passed_over[0]
        sealed = await saver.seal(CHECKPOINT, 2)
        assert sealed == found


async def test_damaged_files_are_not_restored_and_the_next_step_is_named(
    tmp_path: Path, folder: Path
) -> None:
    where = work_directory(tmp_path)
    async with saving(where) as saver:
        await begun(saver)
        saved = await saver.write(folder, changes=None)
        for pack in _repository(where).glob("packs/*/*"):
            data = bytearray(pack.read_bytes())
            data[1000] ^= 1
            pack.chmod(0o600)
            pack.write_bytes(data)
        with pytest.raises(DamagedCheckpointError, match="studios checkpoints verify"):
            await saver.restore(saved, tmp_path / "restored", over=[])


async def test_a_folder_that_can_not_be_used_is_named(tmp_path: Path, folder: Path) -> None:
    async with saving(work_directory(tmp_path)) as saver:
        await begun(saver)
        with pytest.raises(SaveRefusedError, match="nowhere"):
            await saver.write(tmp_path / "nowhere", changes=None)
        saved = await saver.write(folder, changes=None)
        with pytest.raises(SaveRefusedError, match="not empty"):
            await saver.restore(saved, folder, over=[])
        (small := tmp_path / "small").mkdir()
        with small_disk(small, size_bytes=MB), pytest.raises(NoRoomError, match="No space left"):
            await saver.restore(saved, small, over=[])


async def test_a_bug_ends_it_with_its_traceback_in_the_log(tmp_path: Path, folder: Path) -> None:
    async with saving(work_directory(tmp_path)) as saver:
        with structlog.testing.capture_logs() as logs, pytest.raises(SaverDiedError, match="70"):
            await saver.seal("no id at all", 1)
        failed = next(log for log in logs if log["event"] == "checkpoint_process_failed")
        assert failed["log_level"] == "error"
        assert "no id at all" in str(failed["traceback"])
        await begun(saver)
        assert (await saver.write(folder, changes=None)).generation == 1


async def test_what_it_logs_is_in_the_agents_log(tmp_path: Path, folder: Path) -> None:
    async with saving(work_directory(tmp_path)) as saver:
        await begun(saver)
        await saver.write(folder, changes=None)
        with structlog.testing.capture_logs() as logs:
            await saver.seal(CHECKPOINT, 2)
            await saver.rest()
        sealed = next(log for log in logs if log["event"] == "checkpoint_sealed")
        assert sealed["log_level"] == "info"
        assert sealed["generation"] == 2


# ── What it is to the machine ────────────────────────────────────────────────


async def test_it_gives_way_and_shows_no_secret(tmp_path: Path) -> None:
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
        await until(lambda: _ionice(pid) == "best-effort: prio 7")
        assert os.getpriority(os.PRIO_PROCESS, pid) == 10
        proc = Path(f"/proc/{pid}")
        assert b"not-to-be-seen" not in (proc / "cmdline").read_bytes()
        assert b"not-to-be-seen" not in (proc / "environ").read_bytes()
        assert os.getsid(pid) == os.getpgid(pid) == pid
        mounts = (os.readlink(f"/proc/{name}/ns/mnt") for name in (pid, "self"))
        assert len(set(mounts)) == 1
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


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


def _repository(where: WorkDirectory) -> Path:
    return Path(where.url.removeprefix("file://")) / ".studios/checkpoints"


def _record(where: WorkDirectory, generation: int) -> Path:
    return _repository(where) / f"checkpoints/{CHECKPOINT}/{generation:010d}"
