"""What was restored lies over the image as it was saved; whatever ends it, it can be made again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agent.checkpointing import layer as layer_module
from agent.checkpointing.saver import SaverDiedError
from agent.volume import loop_volume
from agent.volume.loop_volume import IMAGE_NAME
from agent.volume.volume import StillInUseError
from tests.agent.checkpointing.layer_rig import (
    assert_nothing_is_left,
    let_go_of,
    much,
    restored_layer,
    saved_of,
)
from tests.support.checkpoint_rig import seen
from tests.support.saver_rig import CHECKPOINT, saving, work_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.checkpointing.facts import Restored
    from agent.checkpointing.process import SaverProcess


async def test_it_shows_what_was_saved_and_nobody_can_change_it(
    tmp_path: Path, host: Path, files: Path
) -> None:
    layer = restored_layer(host)
    async with saving(work_directory(tmp_path)) as saver:
        path = await layer.make(saver, await saved_of(saver, files), over=[])
    assert seen(path) == seen(files)
    with pytest.raises(OSError, match="Read-only"):
        (path / "etc/settings").write_text("changed")
    await layer.drop()
    assert_nothing_is_left(host)
    await layer.drop()


class _Counting:
    """A saver that counts what it restores."""

    def __init__(self, saver: SaverProcess) -> None:
        self._saver = saver
        self.restored = 0
        self.newest = saver.newest
        self.seal = saver.seal
        self.open = saver.open
        self.write = saver.write
        self.sweep = saver.sweep
        self.rest = saver.rest
        self.close = saver.close

    async def restore(self, *args: object, **kwargs: object) -> Restored:
        self.restored += 1
        return await self._saver.restore(*args, **kwargs)  # type: ignore[arg-type]


async def test_the_same_tree_is_restored_once_and_another_anew(
    tmp_path: Path, host: Path, files: Path
) -> None:
    async with saving(work_directory(tmp_path)) as process:
        saver = _Counting(process)
        saved = await saved_of(process, files)
        layer = restored_layer(host)
        path = await layer.make(saver, saved, over=[])
        assert await layer.make(saver, saved, over=[]) == path
        let_go_of(layer)
        again = restored_layer(host)
        assert await again.make(saver, saved, over=[]) == path
        assert saver.restored == 1
        assert seen(path) == seen(files)
        with pytest.raises(OSError, match="Read-only"):
            (path / "new").touch()
        (files / "later").write_text("later")
        later = await process.write(files, changes=None)
        assert await again.make(saver, later, over=[]) == path
        assert saver.restored == 2
        assert seen(path) == seen(files)
        await again.make(saver, later, over=[tmp_path])
        assert saver.restored == 3, "over other layers it may have to be another"
        await again.drop()
    assert_nothing_is_left(host)


async def test_a_mark_that_can_not_be_read_is_none(tmp_path: Path, host: Path, files: Path) -> None:
    layer = restored_layer(host)
    async with saving(work_directory(tmp_path)) as process:
        saver = _Counting(process)
        saved = await saved_of(process, files)
        await layer.make(saver, saved, over=[])
        (host / "restored" / layer_module.MARK_NAME).write_text("{")
        await layer.make(saver, saved, over=[])
        assert saver.restored == 2
    await layer.drop()


async def test_an_image_with_a_mark_that_can_not_be_used_is_made_anew(
    tmp_path: Path, host: Path, files: Path
) -> None:
    async with saving(work_directory(tmp_path)) as saver:
        saved = await saved_of(saver, files)
        layer = restored_layer(host)
        await layer.make(saver, saved, over=[])
        mark = (host / "restored" / layer_module.MARK_NAME).read_bytes()
        await layer.drop()
        (host / "restored").mkdir()
        (host / "restored" / layer_module.MARK_NAME).write_bytes(mark)
        (host / "restored" / IMAGE_NAME).write_bytes(b"no file system")
        path = await layer.make(saver, saved, over=[])
        assert seen(path) == seen(files)
        await layer.drop()


# ── Endings ──────────────────────────────────────────────────────────────────


async def test_after_a_kill_of_the_agent_it_is_made_again(
    tmp_path: Path, host: Path, files: Path
) -> None:
    where = work_directory(tmp_path)
    much(files)
    async with saving(where) as saver:
        saved = await saved_of(saver, files)
        with _agent(host, where.url) as agent:
            assert _line(agent).startswith("restored")
        assert not (host / "restored" / layer_module.MARK_NAME).exists()
        layer = restored_layer(host)
        path = await layer.make(saver, saved, over=[])  # while the kernel still unmounts
        assert seen(path) == seen(files)
    await layer.drop()
    assert_nothing_is_left(host)


async def test_after_a_kill_of_the_agent_what_is_complete_is_used_again(
    tmp_path: Path, host: Path, files: Path
) -> None:
    where = work_directory(tmp_path)
    async with saving(where) as process:
        saver = _Counting(process)
        saved = await saved_of(process, files)
        with _agent(host, where.url) as agent:
            while _line(agent) != "complete":
                pass
        layer = restored_layer(host)
        path = await layer.make(saver, saved, over=[])
        assert saver.restored == 0
        assert seen(path) == seen(files)
    await layer.drop()
    assert_nothing_is_left(host)


@pytest.mark.parametrize("how", ["killed", "cancelled"])
async def test_a_restoration_that_was_ended_leaves_nothing(
    tmp_path: Path, host: Path, files: Path, how: str
) -> None:
    much(files)
    layer = restored_layer(host)
    async with saving(work_directory(tmp_path)) as saver:
        saved = await saved_of(saver, files)
        begun = asyncio.Event()
        making = asyncio.get_running_loop().create_task(
            layer.make(saver, saved, over=[], progress=lambda _: begun.set())
        )
        await begun.wait()
        if how == "killed":
            assert saver.pid is not None
            os.kill(saver.pid, signal.SIGKILL)
            with pytest.raises(SaverDiedError):
                await making
        else:
            making.cancel()
            with pytest.raises(asyncio.CancelledError):
                await making
        assert_nothing_is_left(host)
        assert seen(await layer.make(saver, saved, over=[])) == seen(files)
    await layer.drop()


async def test_while_it_is_in_use_it_stays(
    tmp_path: Path, host: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = restored_layer(host)
    async with saving(work_directory(tmp_path)) as saver:
        path = await layer.make(saver, await saved_of(saver, files), over=[])
    monkeypatch.setattr(loop_volume, "SETTLE_SECONDS_MAX", 0.0)
    with (path / "large").open("rb"), pytest.raises(StillInUseError):
        await layer.drop()
    assert seen(path) == seen(files)
    monkeypatch.undo()
    await layer.drop()
    assert_nothing_is_left(host)


@contextlib.contextmanager
def _agent(host: Path, url: str) -> Iterator[subprocess.Popen[bytes]]:
    module = "tests.agent.checkpointing.layer_agent"
    command = [sys.executable, "-m", module, str(host), url, CHECKPOINT]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def _line(agent: subprocess.Popen[bytes]) -> str:
    """Return the next line but records of its log."""
    assert agent.stdout is not None
    for line in agent.stdout:
        if line.startswith((b"restored ", b"complete")):
            return line.decode().strip()
    raise AssertionError("it has ended")
