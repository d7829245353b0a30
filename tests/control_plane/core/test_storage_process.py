"""Processes that read and collect: what they are told, how they end, and what is said then."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from common.secret import Secret
from common.session_spec import WorkDirectory
from control_plane import storage_frames
from control_plane.collecting_messages import Collect, Done, decode_result
from control_plane.storage_frames import BrokenFrameError, Frame
from control_plane.storage_process import ProcessGoneError, StorageProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WORKER = "control_plane.collecting_worker"


@asynccontextmanager
async def started(folder: Path, module: str = WORKER) -> AsyncIterator[StorageProcess]:
    process = await StorageProcess.start(module)
    try:
        credentials = {"access_key_id": Secret("not-for-everybody")}
        await process.send(WorkDirectory(url=folder.as_uri(), credentials=credentials))
        yield process
    finally:
        process.kill()
        await process.end()


async def test_a_process_answers_one_question_after_the_other(tmp_path: Path) -> None:
    async with started(tmp_path) as process:
        for _ in range(3):
            await process.send(Collect())
            assert decode_result((await process.read()).body) == Done(outcome=None)


def seen_by_everybody(pid: int) -> bytes:
    return b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))


async def test_credentials_are_in_no_argument_and_no_variable(tmp_path: Path) -> None:
    async with started(tmp_path) as process:
        await process.send(Collect())
        await process.read()
        assert b"not-for-everybody" not in seen_by_everybody(process.pid)


async def test_it_ends_with_whoever_started_it_whatever_it_does(tmp_path: Path) -> None:
    """The kernel closes a killed program's pipes; here the test closes them."""
    folder = tmp_path / ".studios" / "checkpoints"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "format.json")  # whoever opens it waits for ever
    async with started(tmp_path) as process:
        await process.send(Collect())
        async with asyncio.timeout(4):  # before it would be killed
            await process.end()
        assert not process.is_alive


async def test_why_it_ended_is_said(tmp_path: Path) -> None:
    async with started(tmp_path) as process:
        await process.send(Collect())
        await process.read()
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(ProcessGoneError, match="ended with code -9"):
            await process.read()
    # Maybe before it is told anything.
    with pytest.raises(ProcessGoneError, match="no_such_module"):
        async with started(tmp_path, "control_plane.no_such_module") as process:
            await process.read()


async def test_its_last_words_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine its end is known before they are."""
    read = asyncio.StreamReader.readline

    async def read_late(stream: asyncio.StreamReader) -> bytes:
        await asyncio.sleep(0.05)
        return await read(stream)

    monkeypatch.setattr(asyncio.StreamReader, "readline", read_late)
    with pytest.raises(ProcessGoneError, match="no_such_module"):
        async with started(tmp_path, "control_plane.no_such_module") as process:
            await process.read()


async def test_frames_are_read_at_every_split_and_nonsense_is_none() -> None:
    sent = storage_frames.message(Collect()) + storage_frames.data(b"bytes")
    for at in range(len(sent)):
        stream = asyncio.StreamReader()
        stream.feed_data(sent[:at])
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(storage_frames.read(stream))
            await asyncio.sleep(0)
            stream.feed_data(sent[at:])
            stream.feed_eof()
        assert reading.result() == Frame(is_message=True, body=b'{"type":"Collect"}')
        assert await storage_frames.read(stream) == Frame(is_message=False, body=b"bytes")
        assert await storage_frames.read(stream) is None
        cut = asyncio.StreamReader()
        cut.feed_data(sent[:at])
        cut.feed_eof()
        while await storage_frames.read(cut) is not None:
            pass
    for nonsense in (b"\xff\xff\xff\xffm", b"\0\0\0\1x?"):
        stream = asyncio.StreamReader()
        stream.feed_data(nonsense)
        stream.feed_eof()
        with pytest.raises(BrokenFrameError):
            await storage_frames.read(stream)
