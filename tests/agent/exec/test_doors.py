"""Who gets in, and what hostile hands get."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from agent.exec import execs, spent
from agent.exec.spent import SpentTokens
from common.exec.handshake import ask
from common.exec.messages import ORDER_BYTES_MAX, Exit, Order, Resize, Signal, Stdin
from tests.support.exec_client import NONCE, RefusedError, exec_client, run
from tests.support.rig import OTHER, SESSION, Rig, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.exec_client import ExecClient


async def refused(rig: Rig, token: str | None = None, extra: str = "") -> RefusedError:
    with pytest.raises(RefusedError) as error:
        async with exec_client(rig, token=token, extra=extra):
            pass
    return error.value


def token(rig: Rig, scope: str = "exec", session: object = SESSION) -> str:
    return rig.platform.studio_token(session, scope, "ada")  # type: ignore[arg-type]


# ── tokens ───────────────────────────────────────────────────────────────────


async def test_a_token_is_good_for_one_command(rig: Rig) -> None:
    once = token(rig)
    async with exec_client(rig, token=once) as client:
        client.say(Order(arguments=(b"true",)))
        await client.end()
    error = await refused(rig, once)
    assert (error.status, "used before" in error.sentence) == (401, True)


async def test_other_tokens_are_good_for_none(rig: Rig) -> None:
    for wrong, status in {
        token(rig, "log"): 403,
        token(rig, "health"): 403,
        token(rig, session=OTHER): 401,
        rig.platform.agent_token(SESSION): 401,
        rig.platform.connect_token(SESSION): 401,
        "x": 401,
    }.items():
        assert (await refused(rig, wrong)).status == status


async def test_a_cookie_opens_nothing(rig: Rig) -> None:
    request = ask(b"/.studio/exec", rig.host.encode(), b"", NONCE)
    cookie = f"Cookie: {rig.cookie()}\r\n"
    with pytest.raises(RefusedError) as error:
        async with exec_client(rig, request=request, extra=cookie):
            pass
    assert error.value.status == 401


def test_spent_tokens_are_remembered_until_they_are_over_and_no_more_than_can_be() -> None:
    tokens = SpentTokens()
    assert tokens.spend("a", expires=100.0)
    assert not tokens.spend("a", expires=100.0)
    assert not tokens.spend("", expires=100.0)
    assert not tokens.spend("x" * 65, expires=100.0)
    for number in range(spent.TOKENS_MAX - 1):
        assert not tokens.is_full(90.0)
        assert tokens.spend(f"{number}", expires=200.0)
    assert tokens.is_full(100.0 + 30.0), "within the leeway the first is good yet"
    assert not tokens.is_full(131.0)
    assert tokens.spend("a", expires=300.0)
    assert tokens.is_full(131.0)


# ── handshakes ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "field",
    [
        "Origin: http://a1234abcd.studio.localhost:9191",
        "Origin: http://a5678ef01.studio.localhost:9191",
        "Origin: null",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-origin",
    ],
)
async def test_no_page_may_run_a_command(rig: Rig, field: str) -> None:
    assert (await refused(rig, extra=f"{field}\r\n")).status == 403


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ((b"Upgrade: websocket\r\n", b""), 400),
        ((b"GET", b"POST"), 400),
        ((b"Version: 13", b"Version: 8"), 400),
        ((b"studio-exec.1", b"studio-exec.2"), 400),
        ((b"Sec-WebSocket-Protocol: studio-exec.1\r\n", b""), 400),
        ((b"AAECAwQFBgcICQoLDA0ODw==", b"AAEC"), 400),
        ((b"AAECAwQFBgcICQoLDA0ODw==", b"!"), 400),
        ((b"/.studio/exec", b"/.studio/exec/x"), 404),
    ],
)
async def test_only_its_own_handshake_is_understood_and_the_token_stays_good(
    rig: Rig, change: tuple[bytes, bytes], status: int
) -> None:
    good = token(rig)
    request = ask(b"/.studio/exec", rig.host.encode(), good.encode(), NONCE)
    assert change[0] in request
    with pytest.raises(RefusedError) as error:
        async with exec_client(rig, request=request.replace(*change, 1)):
            pass
    if status != 404:
        assert error.value.status == status
    async with exec_client(rig, token=good) as client:
        client.say(Order(arguments=(b"true",)))
        assert await client.end() == Exit(code=0)


async def test_there_is_an_end_to_how_many_run(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execs, "EXECS_MAX", 3)
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(3):
            client = await stack.enter_async_context(exec_client(rig))
            client.say(Order(arguments=(b"sleep", b"600")))
            await client.started()
            clients.append(client)
        spared = token(rig)
        error = await refused(rig, spared)
        assert (error.status, "end one" in error.sentence) == (503, True)
        clients[0].say(Signal("SIGTERM"))
        await clients[0].end()
        await until(lambda: len(rig.agents[0].gateway._execs._running) == 2, what="one is over")
        async with exec_client(rig, token=spared) as another:
            another.say(Order(arguments=(b"true",)))
            assert await another.end() == Exit(code=0)


# ── hostile hands ────────────────────────────────────────────────────────────


def raw(kind: int, content: bytes) -> Callable[[ExecClient], None]:
    """Send a message of this kind, whatever the protocol says."""

    def send(client: ExecClient) -> None:
        proto = client.framing._websocket._proto
        client.send(bytes(proto.send_data(bytes([kind]) + content)))

    return send


def frames(data: bytes) -> Callable[[ExecClient], None]:
    return lambda client: client.send(data)


HOSTILE: dict[str, tuple[Callable[[ExecClient], None], int]] = {
    "unmasked": (frames(b"\x82\x02\x01x"), 1002),
    "reserved bits": (frames(b"\xf2\x82\0\0\0\0\x01x"), 1002),
    "unknown opcode": (frames(b"\x83\x82\0\0\0\0\x01x"), 1002),
    "a ping in pieces": (frames(b"\x09\x80\0\0\0\0"), 1002),
    "a continuation of nothing": (frames(b"\x80\x80\0\0\0\0"), 1002),
    "a length beyond all": (frames(b"\x82\xff" + b"\xff" * 8 + bytes(4)), 1002),
    "close with one byte": (frames(b"\x88\x81\0\0\0\0\x01"), 1002),
    "text": (frames(b"\x81\x81\0\0\0\0x"), 1003),
    "nothing": (frames(b"\x82\x80\0\0\0\0"), 1002),
    "unknown kind": (raw(0x05, b""), 1002),
    "a kind of the agent": (raw(0x81, b"x"), 1002),
    "empty stdin": (raw(0x01, b""), 1002),
    "stdin end with content": (raw(0x02, b"x"), 1002),
    "size of nothing": (raw(0x03, bytes(4)), 1002),
    "size too short": (raw(0x03, b"\0\1\0"), 1002),
    "unknown signal": (raw(0x04, b"SIGSEGV"), 1002),
    "a signal by number": (raw(0x04, b"9"), 1002),
    "another order": (lambda client: client.say(Order(arguments=(b"true",))), 1002),
    "stdin that was not ordered": (lambda client: client.say(Stdin(b"x")), 1008),
    "too large": (raw(0x01, bytes(65537)), 1009),
    "in endless pieces": (
        lambda client: client.send(
            b"".join(
                bytes(client.framing._websocket._proto.send_data(bytes(60000), fin=False))
                for _ in range(2)
            )
        ),
        1009,
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_is_not_in_the_protocol_ends_the_command(rig: Rig, name: str) -> None:
    send, code = HOSTILE[name]
    async with exec_client(rig) as client:
        client.say(Order(arguments=(b"sleep", b"600")))
        await client.started()
        send(client)
        while client.closed is None:
            assert await client.hear() is not None
        assert client.closed.code == code
        assert client.closed.reason.endswith(".") or code == 1002
    await until(lambda: not rig.ground.living(), what="it has ended")
    assert (await run(rig, "true")).exit == Exit(code=0)


BAD_ORDERS = {
    "no JSON": b"{",
    "nested": b"[" * 100_000,
    "no arguments": b"{}",
    "empty arguments": b'{"arguments":[]}',
    "an empty program": b'{"arguments":[""]}',
    "no base64": b'{"arguments":["*"]}',
    "a zero byte": b'{"arguments":["bHMA"]}',
    "unknown field": b'{"arguments":["bHM="],"privileged":true}',
    "no assignment": b'{"arguments":["bHM="],"environment":["bHM="]}',
    "terminal without size": b'{"arguments":["bHM="],"terminal":{"rows":0,"columns":0,"type":"x"}}',
    "a type with spaces": b'{"arguments":["bHM="],"terminal":{"rows":1,"columns":1,"type":"a b"}}',
    "detached with stdin": b'{"arguments":["bHM="],"detach":true,"stdin":true}',
    "a zero byte in the folder": b'{"arguments":["bHM="],"workingDirectory":"L3QA"}',
}


@pytest.mark.parametrize("name", BAD_ORDERS)
async def test_an_order_that_makes_no_sense_is_refused(rig: Rig, name: str) -> None:
    async with exec_client(rig) as client:
        raw(0x00, BAD_ORDERS[name])(client)
        while client.closed is None:
            assert await client.hear() is not None
        assert client.closed.code == 1002
        assert "rder" in client.closed.reason
    assert not rig.ground.living()


async def test_an_order_has_a_size(rig: Rig) -> None:
    async with exec_client(rig) as client:
        raw(0x00, bytes(ORDER_BYTES_MAX))(client)
        while client.closed is None:
            assert await client.hear() is not None
        assert client.closed.code == 1009
    words = (b"true", *(b"x" * 100_000 for _ in range(7)))
    async with exec_client(rig) as client:
        client.say(Order(arguments=words))
        assert await client.end() == Exit(code=0)


async def test_random_bytes_do_no_harm(rig: Rig) -> None:
    for _ in range(20):
        async with exec_client(rig) as client:
            client.send(os.urandom(5000))
            while await client.hear() is not None:
                pass
    assert (await run(rig, "true")).exit == Exit(code=0)


async def test_sizes_and_signals_without_a_terminal_or_program_are_nothing(rig: Rig) -> None:
    async with exec_client(rig) as client:
        client.say(Resize(5, 5), Order(arguments=(b"sleep", b"600")), Resize(6, 6))
        await client.started()
        client.say(Resize(7, 7), Signal("SIGKILL"))
        assert await client.end() == Exit(signal="SIGKILL")
        client.say(Signal("SIGKILL"))
