"""Nobody is drowned and nobody is made to wait for somebody else's slowness."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import psutil

from agent.exec.execution import CREDIT_BYTES
from common.exec.messages import Credit, Exit, Order, Signal, Stdin, StdinEnd, Stdout
from tests.support.exec_client import exec_client, held
from tests.support.rig import until

if TYPE_CHECKING:
    from tests.support.exec_client import ExecClient
    from tests.support.rig import Rig

MIB = 1024 * 1024
PIPE_MIB = 200
GROWTH_BYTES_MAX = 40 * MIB
"""Of client, edge, agent together: buffers of some MiB, and what the allocator keeps."""
BLOCK = os.urandom(MIB)


def words(text: str) -> tuple[bytes, ...]:
    return tuple(text.encode().split())


def resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


async def test_200_mb_pass_a_pipe_exactly_in_bounded_memory(rig: Rig) -> None:
    sent, got = hashlib.sha256(), hashlib.sha256()
    before = peak = resident_bytes()
    left = PIPE_MIB * MIB
    received = 0
    async with exec_client(rig) as client:
        client.say(Order(arguments=(b"cat",), stdin=True))
        while client.closed is None:
            while left and client.credit >= 65536:
                start = -left % MIB
                piece = BLOCK[start : start + 65536]
                sent.update(piece)
                client.say(Stdin(piece))
                client.credit -= len(piece)
                left -= len(piece)
                if not left:
                    client.say(StdinEnd())
            found = await client.hear()
            assert found is not None
            if isinstance(found, Stdout):
                got.update(found.data)
                received += len(found.data)
                client.stdout.clear()
                if received % (10 * MIB) < 65536:
                    peak = max(peak, resident_bytes())
        client.close()
    assert client.exit == Exit(code=0)
    assert received == PIPE_MIB * MIB
    assert got.digest() == sent.digest()
    assert peak - before < GROWTH_BYTES_MAX


async def test_a_program_waits_for_a_client_that_does_not_read(rig: Rig) -> None:
    async with exec_client(rig) as client:
        client.say(Order(arguments=words("dd if=/dev/zero bs=65536 count=40000 status=none")))
        pid = await client.started()
        written = await held(pid, connections=2)
        client.stdout.clear()
        while len(client.stdout) < written + MIB:
            await client.hear()
        client.say(Signal("SIGINT"))
        assert await client.end() == Exit(signal="SIGINT")


UNTIL_FULL = """
import os, time
os.set_blocking(1, False)
written = refused = 0
while refused < 100:
    try:
        written += os.write(1, b"x" * 4096)
        refused = 0
    except BlockingIOError:
        refused += 1
        time.sleep(0.003)
os.write(2, b"%d" % written)
"""


async def test_what_is_on_the_way_when_it_ends_still_arrives(rig: Rig) -> None:
    async with exec_client(rig) as client:
        client.say(Order(arguments=(b"python3", b"-c", UNTIL_FULL.encode())))
        await client.started()
        await until(lambda: not rig.ground.living(), what="it has filled everything and ended")
        assert await client.end() == Exit(code=0)
    assert len(client.stdout) == int(client.stderr) > MIB


async def test_a_client_waits_for_a_program_that_does_not_read_and_is_still_heard(rig: Rig) -> None:
    async with exec_client(rig) as client:
        client.say(Order(arguments=words("sleep 600"), stdin=True))
        credit = await first_credit(client)
        assert credit == CREDIT_BYTES
        client.say(*(Stdin(bytes(65536)) for _ in range(credit // 65536)))
        await client.drain()
        client.send(client.framing.ping())
        await client.hear()  # the answer: everything before it was taken
        assert client.credit == credit, "no more, but for what its pipe has room for"
        client.say(Signal("SIGTERM"))
        assert await client.end() == Exit(signal="SIGTERM")


async def first_credit(client: ExecClient) -> int:
    while not isinstance(found := await client.hear(), Credit):
        assert found is not None
    return found.size_bytes


async def test_stdin_beyond_the_credit_ends_the_command(rig: Rig) -> None:
    async with exec_client(rig) as client:
        client.say(Order(arguments=words("sleep 600"), stdin=True))
        credit = await first_credit(client)
        client.say(*(Stdin(bytes(65536)) for _ in range(credit // 65536)), Stdin(b"x"))
        while client.closed is None:
            assert await client.hear() is not None
        assert client.closed.code == 1008
    await until(lambda: not rig.ground.living(), what="the command is ended")


async def test_pings_of_a_client_that_does_not_read_pile_up_nothing(rig: Rig) -> None:
    async with exec_client(rig) as client:
        client.say(Order(arguments=words("dd if=/dev/zero bs=65536 count=40000 status=none")))
        await held(await client.started(), connections=2)
        (running,) = rig.agents[0].gateway._execs._running
        transport = running.connection._transport
        assert transport is not None
        before = transport.get_write_buffer_size()
        for _ in range(200):
            client.send(client.framing._websocket._proto.ping(bytes(125)) * 100)
            await client.drain()
        client.send(client.framing._websocket._proto.ping(b"the last"))
        await until(lambda: running.connection._owed_pong == b"the last", what="it heard all")
        assert transport.get_write_buffer_size() == before
        client.abort()
