"""The socket in hostile hands: nothing that a session does holds up the agent."""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import os
import resource
import socket
import stat
import struct
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.inside.exchange import HEAD_BYTES_MAX, Answer, Request
from agent.inside.listener import (
    CONNECTIONS_MAX,
    OUT_OF_FILES_PAUSE_SECONDS,
    PARTS_MAX,
    PAUSE_SECONDS,
    Listener,
)
from common.clock import SteppingClock, SystemClock
from tests.agent.inside.served import ask, connect, read_all, running, serving
from tests.support.plane import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from agent.inside.desk import Desk
    from tests.agent.inside.served import Subject

GET = b"GET /status HTTP/1.0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
LINGER_SECONDS = 20


@pytest.fixture
def desk(subject: Subject, folder: Path) -> Desk:
    return subject.desk(folder, SystemClock())


@pytest.fixture
async def served(desk: Desk) -> AsyncIterator[Desk]:
    async with serving(desk):
        yield desk


async def say(client: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(client, data)


async def test_request_is_answered_however_it_is_cut(served: Desk) -> None:
    for size in range(1, len(GET)):
        assert (await ask(served, GET[:size], GET[size:])).startswith(OK)


async def test_socket_is_for_everybody_in_a_folder_for_nobody(served: Desk) -> None:
    path = served.given[0]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o666
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700


async def test_clients_don_t_learn_the_host_s_path(served: Desk) -> None:
    with await connect(served) as client:
        assert str(Path(served.given[0]).parent) not in client.getpeername()


async def test_earlier_run_s_socket_is_replaced(desk: Desk) -> None:
    os.mknod(desk.given[0])
    async with serving(desk):
        assert (await ask(desk, GET)).startswith(OK)
    assert os.listdir(os.path.dirname(desk.given[0])) == []
    await desk.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 100,
        b"GET /status HTTP/1.0\r\n" + b"x" * HEAD_BYTES_MAX,
        b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_garbage_is_answered_or_dropped_and_the_next_is_served(
    served: Desk, garbage: bytes
) -> None:
    with await connect(served) as client:
        await say(client, garbage)
        client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            received = await read_all(client)
            assert received.startswith(b"HTTP/1.1 4")
    assert (await ask(served, GET)).startswith(OK)


async def test_client_that_leaves_without_a_word_costs_nothing(served: Desk) -> None:
    for _ in range(2 * CONNECTIONS_MAX):
        (await connect(served)).close()
    assert (await ask(served, GET)).startswith(OK)


async def test_client_that_never_reads_costs_nothing(served: Desk) -> None:
    clients = [await connect(served) for _ in range(CONNECTIONS_MAX)]
    for client in clients:
        await say(client, GET)
    assert (await ask(served, GET)).startswith(OK)
    for client in clients:
        client.close()


async def test_silent_client_is_dropped(folder: Path, subject: Subject) -> None:
    async def answer(_: Request) -> Answer:
        raise AssertionError("nothing was asked")

    desk = subject.desk(folder, SystemClock())
    listener = Listener(Path(desk.given[0]), answer, clock=SystemClock(), call_seconds_max=0.05)
    desk._listener = listener
    async with serving(desk):
        with await connect(desk) as client:
            await say(client, b"GET ")
            assert await read_all(client) == b""


async def test_head_in_single_bytes_is_not_waited_for(served: Desk) -> None:
    with await connect(served) as client:
        for number in range(PARTS_MAX):
            await say(client, GET[number : number + 1])
            await until(lambda: unread_bytes(client) == 0, what="the agent reads it")
        assert (await read_all(client)).startswith(b"HTTP/1.1 400 ")


def unread_bytes(client: socket.socket) -> int:
    """Return how much of what was sent still waits for the other end."""
    (count,) = struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)))
    return int(count)


async def test_flood_is_served_at_the_agent_s_pace(subject: Subject, folder: Path) -> None:
    clock = SteppingClock()
    desk = subject.desk(folder, clock)
    async with serving(desk):
        clients = [await connect(desk) for _ in range(5)]
        for client in clients:
            await say(client, GET)
        for number, client in enumerate(clients):
            await until(lambda: clock.sleeping == 1, what="the pause")
            for later in clients[number + 1 :]:
                with pytest.raises(BlockingIOError):
                    later.recv(1)
            assert (await read_all(client)).startswith(OK)
            await clock.advance(PAUSE_SECONDS)
            client.close()


async def test_connections_beyond_the_limit_wait_for_others(subject: Subject, folder: Path) -> None:
    clock = SteppingClock()
    desk = subject.desk(folder, clock)
    async with serving(desk):
        silent = [await connect(desk) for _ in range(CONNECTIONS_MAX)]
        for _ in silent:
            await until(lambda: clock.sleeping == 1, what="the pause")
            await clock.advance(PAUSE_SECONDS)
        with await connect(desk) as waiting:
            await say(waiting, GET)
            await clock.advance(100 * PAUSE_SECONDS)
            assert threading.active_count() <= CONNECTIONS_MAX + 2
            with pytest.raises(BlockingIOError):
                waiting.recv(1)
            silent.pop().close()
            assert (await read_all(waiting)).startswith(OK)
        for client in silent:
            client.close()


async def test_listener_outlives_a_lack_of_descriptors(subject: Subject, folder: Path) -> None:
    clock = SteppingClock()
    desk = subject.desk(folder, clock)
    async with serving(desk):
        with await connect(desk) as client, no_more_descriptors():
            await until(lambda: clock.sleeping == 1, what="a refused connection's pause")
        with await connect(desk) as client:
            await say(client, GET)
            await clock.advance(OUT_OF_FILES_PAUSE_SECONDS)
            await until(lambda: clock.sleeping == 1, what="the pause after the first")
            await clock.advance(PAUSE_SECONDS)
            assert (await read_all(client)).startswith(OK)


@contextlib.contextmanager
def no_more_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open("/dev/null", os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ── Descriptors sent along ───────────────────────────────────────────────────


@pytest.fixture
def lingering() -> Iterator[socket.socket]:
    """A connection whose last close takes LINGER_SECONDS, or until this fixture's end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = socket.create_connection(server.getsockname())
        sender.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                sender.send(bytes(1 << 16))
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER_SECONDS))
        yield sender
        sender.close()


def send_with(client: socket.socket, data: bytes, descriptor: socket.socket) -> None:
    rights = array.array("i", [descriptor.fileno()])
    client.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    descriptor.close()  # not the last: one is under way


def test_closing_such_a_descriptor_takes_long(lingering: socket.socket) -> None:
    """The positive control: without it the next tests would prove nothing."""
    ours, theirs = socket.socketpair()
    closed = threading.Event()

    def receive() -> None:
        theirs.recv(1)
        closed.set()

    with ours, theirs:
        send_with(ours, b"x", lingering)
        receiving = threading.Thread(target=receive, daemon=True)
        receiving.start()
        assert not closed.wait(0.2)


async def test_descriptor_that_lingers_holds_up_nobody(
    served: Desk, lingering: socket.socket
) -> None:
    began = time.monotonic()
    with await connect(served) as client:
        send_with(client, GET, lingering)
        assert (await ask(served, GET)).startswith(OK)
    assert time.monotonic() - began < LINGER_SECONDS / 2


async def test_unread_descriptor_that_lingers_holds_up_nobody(
    desk: Desk, lingering: socket.socket
) -> None:
    began = time.monotonic()
    await desk.open()
    with await connect(desk) as client:
        await say(client, bytes(HEAD_BYTES_MAX))  # all that is read
        send_with(client, b"x", lingering)
        async with running(desk):
            answer = await asyncio.get_running_loop().sock_recv(client, 65536)
            assert answer.startswith(b"HTTP/1.1 431 ")
            assert (await ask(desk, GET)).startswith(OK)
    assert time.monotonic() - began < LINGER_SECONDS / 2


async def test_descriptor_that_lingers_in_the_queue_doesn_t_hold_up_the_end(
    desk: Desk, lingering: socket.socket
) -> None:
    began = time.monotonic()
    await desk.open()
    with await connect(desk) as client:
        send_with(client, GET, lingering)
        await desk.close()
    assert time.monotonic() - began < LINGER_SECONDS / 2


async def test_bug_in_an_answer_ends_the_listener(subject: Subject, folder: Path) -> None:
    def broken() -> object:
        raise ZeroDivisionError

    desk = subject.desk(folder, SystemClock())
    desk._observe = broken  # type: ignore[assignment]
    await desk.open()
    with await connect(desk) as client:
        await say(client, GET)
        with pytest.raises(ExceptionGroup):
            await desk.run()
    await desk.close()
