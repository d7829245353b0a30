"""What is in a checkpoint, and files out of it, for people who may connect to its Studio.

Processes of their own do the reading: see `storage_process`. Each answers one question at a time,
and stays for a while, because whoever opens a folder opens the next one soon.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

import structlog

from common.tasks import TaskBag
from common.wire import MalformedMessageError, encode
from control_plane.access import Action
from control_plane.browsing_messages import (
    Answer,
    Ask,
    End,
    Get,
    Head,
    Hole,
    List,
    Listed,
    Refused,
    Trouble,
    decode_answer,
)
from control_plane.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    StudiosError,
    UnavailableError,
)
from control_plane.model import DEFAULT_WORKSPACE
from control_plane.service_workspace import require
from control_plane.storage_process import ProcessGoneError, StorageProcess
from control_plane.work_directories import work_directory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.ids import SessionId
    from common.session_spec import WorkDirectory
    from control_plane.model import Person
    from control_plane.model_checkpoints import Checkpoint, CheckpointNumber
    from control_plane.service import StudioService

LIST_MAX = 500
"""Entries of a folder in one answer: some 100 KB of JSON, and no stall of the loop."""
LISTS_AT_ONCE = 3
DOWNLOADS_AT_ONCE = 4
"""Each with its process of some 100 MB: what one machine has left beside its sessions."""
ANSWER_SECONDS_MAX = 60.0
"""For a folder, and for each piece of a file: a bucket that is slower is away."""
IDLE_SECONDS = 120.0
"""A process stays so long for the next question."""
_ZEROS = bytes(256 * 1024)
_WORKER = "control_plane.browsing_worker"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Download:
    """A file that is being read."""

    head: Head
    pieces: AsyncIterator[bytes]
    """Raises StudiosError if it can't be read on: what came before is right, and not all."""


class Browsing:
    """Ask it; `close` it in the end."""

    def __init__(self, service: StudioService) -> None:
        self._service = service
        self._core = service.core
        self._idle: dict[bytes, list[StorageProcess]] = {}
        """By the work directory, encoded."""
        self._lists = asyncio.Semaphore(LISTS_AT_ONCE)
        self._downloads = asyncio.Semaphore(DOWNLOADS_AT_ONCE)
        self._tasks = TaskBag("browsing")

    async def list(
        self,
        person: Person,
        session_id: SessionId,
        number: CheckpointNumber,
        *,
        path: bytes,
        after: bytes,
        limit: int,
    ) -> Listed:
        """Return what is directly in a folder, from after a name on."""
        checkpoint, where = await self._checkpoint(person, session_id, number)
        ask = List(checkpoint_id=checkpoint.storage_id, path=path, after=after, limit=limit)
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX), self._lists:
                async with self._process(where) as process:
                    answer = await _asked(process, ask)
        except TimeoutError:
            raise _too_slow(where) from None
        assert isinstance(answer, Listed), answer
        return answer

    @asynccontextmanager
    async def get(
        self, person: Person, session_id: SessionId, number: CheckpointNumber, *, path: bytes
    ) -> AsyncIterator[Download]:
        """Yield one file, once its beginning could be read."""
        checkpoint, where = await self._checkpoint(person, session_id, number)
        if self._downloads.locked():
            raise UnavailableError(
                f"{DOWNLOADS_AT_ONCE} files are being downloaded from checkpoints: "
                "wait until one of them has come."
            )
        async with self._downloads, self._process(where) as process:
            try:
                async with asyncio.timeout(ANSWER_SECONDS_MAX):
                    ask = Get(checkpoint_id=checkpoint.storage_id, path=path)
                    head = await _asked(process, ask)
            except TimeoutError:
                raise _too_slow(where) from None
            assert isinstance(head, Head), head
            yield Download(head, _pieces(process, where))

    async def close(self) -> None:
        """End all processes that wait for questions."""
        await self._tasks.close()
        waiting = [process for group in self._idle.values() for process in group]
        self._idle.clear()
        for process in waiting:
            await process.end()

    async def _checkpoint(
        self, person: Person, session_id: SessionId, number: CheckpointNumber
    ) -> tuple[Checkpoint, WorkDirectory]:
        """Return it, if this person may see what is in its sessions."""
        studio, checkpoint = await self._service.checkpoint(person, session_id, number)
        require(person, Action.CONNECT, studio)
        if checkpoint.generation < 1:
            raise NotFoundError(
                f"Nothing was saved to “{checkpoint.name}” yet: take another checkpoint, or save "
                "the session's files now."
            )
        async with self._core.store.read() as transaction:
            envs = {env.id: env for env in await transaction.compute_envs(DEFAULT_WORKSPACE)}
        env = envs.get(checkpoint.compute_env_id)
        return checkpoint, work_directory(checkpoint.work_dir, env, self._core.settings.access)

    @asynccontextmanager
    async def _process(self, where: WorkDirectory) -> AsyncIterator[StorageProcess]:
        """Yield a process that nobody else asks; whatever went wrong, it isn't asked again."""
        process = await self._present(where)
        try:
            yield process
        except ProcessGoneError as error:
            await self._discard(process)
            raise _gone(error) from None
        except BaseException as error:
            if isinstance(error, StudiosError) and not isinstance(error, UnavailableError):
                self._keep(where, process)
            else:
                await self._discard(process)
            raise
        else:
            self._keep(where, process)

    async def _present(self, where: WorkDirectory) -> StorageProcess:
        waiting = self._idle.get(encode(where), [])
        while waiting:
            process = waiting.pop()
            if process.is_alive:
                return process
            await process.end()
        try:
            process = await StorageProcess.start(_WORKER)
        except OSError as error:
            raise UnavailableError(
                f"The process that reads checkpoints can't be started ({error.strerror}): "
                "free memory or processes on this machine, and try again."
            ) from error
        try:
            await process.send(where)
        except BaseException:
            await self._discard(process)
            raise
        return process

    def _keep(self, where: WorkDirectory, process: StorageProcess) -> None:
        self._idle.setdefault(encode(where), []).append(process)
        self._tasks.spawn(self._retire(where, process), name="retire")

    async def _retire(self, where: WorkDirectory, process: StorageProcess) -> None:
        """End it once it has waited long enough; it may have answered other questions since."""
        await self._core.clock.sleep(IDLE_SECONDS)
        waiting = self._idle.get(encode(where), [])
        if process in waiting:
            waiting.remove(process)
            await process.end()

    async def _discard(self, process: StorageProcess) -> None:
        process.kill()
        await process.end()


async def _asked(process: StorageProcess, ask: Ask) -> Answer:
    await process.send(ask)
    return await _answer(process)


async def _answer(process: StorageProcess) -> Answer:
    frame = await process.read()
    assert frame.is_message, "an answer comes before the bytes"
    return _checked(frame.body)


def _checked(body: bytes) -> Answer:
    try:
        answer = decode_answer(body)
    except MalformedMessageError as error:
        raise ProcessGoneError(str(error)) from None
    if isinstance(answer, Refused):
        raise _error(answer)
    return answer


async def _pieces(process: StorageProcess, where: WorkDirectory) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                frame = await process.read()
        except TimeoutError:
            raise _too_slow(where) from None
        except ProcessGoneError as error:
            raise _gone(error) from None
        if not frame.is_message:
            yield frame.body
            continue
        match answer := _checked(frame.body):
            case Hole(length_bytes=length):
                for start in range(0, length, len(_ZEROS)):
                    yield _ZEROS[: length - start]
            case End():
                return
            case _:
                raise AssertionError(answer)


def _error(refused: Refused) -> StudiosError:
    match refused.trouble:
        case Trouble.MISSING:
            return NotFoundError(refused.sentence)
        case Trouble.WRONG:
            return InvalidError(refused.sentence)
        case Trouble.DAMAGED:
            return ConflictError(refused.sentence)
        case Trouble.AWAY:
            return UnavailableError(refused.sentence)
        case _:
            assert_never(refused.trouble)


def _gone(error: ProcessGoneError) -> UnavailableError:
    _log.warning("browsing_process_gone", why=str(error))
    return UnavailableError(
        "The process that reads checkpoints has ended: try again; if it stays, ask your "
        "administrator to look into the log."
    )


def _too_slow(where: WorkDirectory) -> UnavailableError:
    return UnavailableError(
        f"{where.url} has not answered for {ANSWER_SECONDS_MAX:.0f} s: check that it can be "
        "reached, then try again."
    )
