"""A command on a terminal of its own: size, keys, job control, its end."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from common.exec.messages import Exit, Order, Resize, Stdin, StdinEnd, Terminal
from tests.support.exec_client import ExecClient, exec_client
from tests.support.rig import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.rig import Rig

TERMINAL = Terminal(rows=33, columns=111, type="xterm-test")
BASH = ("bash", "--norc", "--noprofile", "--noediting", "-i")


@asynccontextmanager
async def on_terminal(rig: Rig, *words: str, stdin: bool = True) -> AsyncIterator[ExecClient]:
    async with exec_client(rig) as client:
        arguments = tuple(word.encode() for word in words)
        prompt = (b"PS1=ready> ",)
        client.say(Order(arguments=arguments, stdin=stdin, terminal=TERMINAL, environment=prompt))
        yield client


def type_in(client: ExecClient, text: str) -> None:
    client.say(Stdin(text.encode()))


async def test_its_size_and_type_are_there_before_it_looks(rig: Rig) -> None:
    for _ in range(5):
        async with on_terminal(rig, "sh", "-c", "stty size; echo $TERM", stdin=False) as client:
            assert await client.end() == Exit(code=0)
            assert client.stdout == b"33 111\r\nxterm-test\r\n"


async def test_another_size_is_told_by_sigwinch(rig: Rig) -> None:
    script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.01; done"
    async with on_terminal(rig, "sh", "-c", script) as client:
        await client.until("ready\r\n")
        client.say(Resize(20, 70))
        assert await client.end() == Exit(code=0)
        assert client.stdout == b"20 70\r\n"


async def test_a_size_that_comes_before_it_runs_is_not_lost(rig: Rig) -> None:
    script = "while [ \"$(stty size)\" != '9 9' ]; do :; done"
    async with on_terminal(rig, "sh", "-c", script) as client:
        client.say(Resize(9, 9))
        assert await client.end() == Exit(code=0)


async def test_it_leads_a_session_that_controls_the_terminal(rig: Rig) -> None:
    script = "test -t 0 && test -t 1 && test -t 2 && echo from tty > /dev/tty; ps -o stat= -p $$"
    async with on_terminal(rig, "sh", "-c", script) as client:
        await client.end()
        assert client.stdout.startswith(b"from tty\r\nSs+")
        assert client.stderr == b""


async def test_ctrl_c_is_a_key(rig: Rig) -> None:
    async with on_terminal(rig, "sh", "-c", "trap 'echo caught; exit 3' INT; cat") as client:
        await client.feed(b"typed\n")
        await client.until("typed\r\ntyped\r\n")
        type_in(client, "\x03")
        assert await client.end() == Exit(code=3)
        assert b"caught" in client.stdout


async def test_jobs_can_be_stopped_and_fetched_back(rig: Rig) -> None:
    async with on_terminal(rig, *BASH) as client:
        await client.until("ready> ")
        type_in(client, "cat\n")
        await client.until("cat\r\n")
        type_in(client, "one\n")
        await client.until("one\r\none\r\n")
        type_in(client, "\x1a")
        await client.until("Stopped")
        await client.until("ready> ")
        type_in(client, "jobs\n")
        await client.until("Stopped")
        await client.until("ready> ")
        type_in(client, "fg\n")
        await client.until("cat\r\n")
        type_in(client, "two\n")
        await client.until("two\r\ntwo\r\n")
        type_in(client, "\x03")
        await client.until("ready> ")
        type_in(client, "echo $?; exit 5\n")
        await client.until("130\r\n")
        assert await client.end() == Exit(code=5)


async def test_the_end_of_stdin_is_typed(rig: Rig) -> None:
    async with on_terminal(rig, "sh", "-c", "cat; echo done") as client:
        await client.started()
        type_in(client, "last\n")
        client.say(StdinEnd())
        assert await client.end() == Exit(code=0)
        assert client.stdout.endswith(b"last\r\ndone\r\n")


async def test_all_that_is_printed_arrives(rig: Rig) -> None:
    async with on_terminal(rig, "seq", "200000", stdin=False) as client:
        assert await client.end() == Exit(code=0)
    assert client.stdout == b"".join(b"%d\r\n" % number for number in range(1, 200001))


async def test_all_that_it_printed_arrives_though_others_keep_the_terminal(rig: Rig) -> None:
    script = "trap '' HUP; sleep 600 & seq 3000; exit 2"
    async with on_terminal(rig, "sh", "-c", script, stdin=False) as client:
        assert await client.end() == Exit(code=2)
    assert client.stdout.endswith(b"\r\n2999\r\n3000\r\n")
    assert client.stdout.count(b"\n") == 3000


async def test_others_who_go_on_printing_keep_nobody(rig: Rig) -> None:
    script = "trap '' HUP; yes & sleep 0.1; exit 2"
    async with on_terminal(rig, "sh", "-c", script, stdin=False) as client:
        assert await client.end() == Exit(code=2)


async def test_a_client_that_leaves_hangs_up(rig: Rig, tmp_path: Path) -> None:
    script = f"trap 'echo > {tmp_path}/hung; exit' HUP; echo ready; while :; do sleep 0.01; done"
    async with on_terminal(rig, "sh", "-c", script) as client:
        await client.until("ready")
        client.abort()
    await until((tmp_path / "hung").exists, what="it hears that the terminal is gone")


async def test_every_byte_passes_a_raw_terminal(rig: Rig) -> None:
    script = "stty raw -echo; echo ready; head -c 2560 | od -An -v -tx1 | tr -d ' \\n'"
    async with on_terminal(rig, "sh", "-c", script) as client:
        await client.until("ready\n")
        await client.feed(bytes(range(256)) * 10)
        assert await client.end() == Exit(code=0)
        assert client.stdout == (bytes(range(256)) * 10).hex().encode()
