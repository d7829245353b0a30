"""What a command gets, and what comes back: through edge, tunnel and gateway."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from common.exec.messages import Exit, Order, Signal, StdinEnd
from tests.support.exec_client import exec_client, run
from tests.support.rig import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.rig import Rig

EVERY_BYTE = bytes(range(256))


async def test_the_three_streams_are_kept_apart_and_every_byte_is_exact(rig: Rig) -> None:
    client = await run(rig, "sh", "-c", "cat; printf 'oh\\377\\0' >&2", stdin=EVERY_BYTE * 3000)
    assert client.stdout == EVERY_BYTE * 3000
    assert client.stderr == b"oh\xff\0"
    assert client.exit == Exit(code=0)


async def test_without_stdin_it_is_at_its_end_at_once(rig: Rig) -> None:
    client = await run(rig, "sh", "-c", "cat; readlink /proc/self/fd/0")
    assert client.stdout == b"/dev/null\n"
    assert client.credit == 0


async def test_stdin_can_be_empty_and_end(rig: Rig) -> None:
    client = await run(rig, "cat", stdin=b"")
    assert (bytes(client.stdout), client.exit) == (b"", Exit(code=0))


@pytest.mark.parametrize("code", [0, 1, 3, 126, 255])
async def test_its_exit_code_comes_back(rig: Rig, code: int) -> None:
    assert (await run(rig, "sh", "-c", f"exit {code}")).exit == Exit(code=code)


async def test_the_signal_that_ended_it_comes_back(rig: Rig) -> None:
    assert (await run(rig, "sh", "-c", "kill -SEGV $$")).exit == Exit(signal="SIGSEGV")
    assert (await run(rig, "sh", "-c", "kill -41 $$")).exit == Exit(signal="SIG41")


async def test_one_that_is_not_there_ends_with_127_and_a_line(rig: Rig) -> None:
    client = await run(rig, "no-such-command")
    assert client.exit == Exit(code=127)
    assert b"no-such-command" in client.stderr


async def test_words_and_variables_may_be_any_bytes(rig: Rig, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    order = Order(
        arguments=(b"sh", b"-c", b'printf %s "$1" "$GREETING"; pwd', b"sh", b"\xff\n ", b"x"),
        environment=(b"GREETING=a=\xfe", b"PWD="),
        working_directory=folder,
    )
    async with exec_client(rig) as client:
        client.say(order)
        await client.end()
    assert client.stdout == b"\xff\n a=\xfe" + folder + b"\n"


async def test_it_has_the_environment_of_the_tool_and_the_order_s_on_top(rig: Rig) -> None:
    async with exec_client(rig) as client:
        client.say(Order(arguments=(b"env",), environment=(b"LANG=x",)))
        await client.end()
    found = dict(line.split(b"=", 1) for line in bytes(client.stdout).splitlines())
    assert found[b"CONNECT_TOOL_PORT"] == b"%d" % rig.tool_port
    assert found[b"HOME"] == b"/root"
    assert found[b"LANG"] == b"x"
    assert b"SECRET_OF_THE_AGENT" not in found


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1"])
async def test_signals_reach_its_whole_group(rig: Rig, name: str) -> None:
    number = signal.Signals[name].value
    child = f"trap 'echo child; exit' {number}; echo ready; while :; do sleep 0.01; done"
    script = f"trap 'echo parent' {number}; ({child}); exit 7"
    async with exec_client(rig) as client:
        client.say(Order(arguments=(b"sh", b"-c", script.encode())))
        await client.until("ready\n")
        client.say(Signal(name))
        assert await client.end() == Exit(code=7)
        assert client.stdout == b"child\nparent\n"


async def test_a_signal_that_comes_before_it_runs_is_not_lost(rig: Rig) -> None:
    async with exec_client(rig) as client:
        client.say(Order(arguments=(b"sleep", b"600")), Signal("SIGTERM"))
        assert await client.end() == Exit(signal="SIGTERM")


async def test_all_that_it_printed_arrives_though_others_keep_its_output_open(rig: Rig) -> None:
    script = "yes & sleep 600 & head -c 60000 /dev/zero; echo end; exit 4"
    client = await run(rig, "sh", "-c", script)
    assert client.exit == Exit(code=4)
    assert client.stdout.count(b"\0") == 60000
    assert b"end\n" in client.stdout


async def test_it_may_close_its_input_and_go_on(rig: Rig) -> None:
    async with exec_client(rig) as client:
        client.say(Order(arguments=(b"sh", b"-c", b"exec <&-; read x; echo closed"), stdin=True))
        await client.feed(bytes(1_000_000))
        client.say(StdinEnd())
        assert await client.end() == Exit(code=0)
    assert client.stdout == b"closed\n"


async def test_what_runs_counts_as_use_of_the_session(rig: Rig) -> None:
    await run(rig, "true")
    assert rig.agents[0].activity.status().reason == "studios exec"


# ── detached ─────────────────────────────────────────────────────────────────


async def test_detached_it_goes_on_without_anybody(rig: Rig, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    script = f"cd {tmp_path}; read x < go; echo $x > done; mv done there"
    async with exec_client(rig) as client:
        client.say(Order(arguments=(b"sh", b"-c", script.encode()), detach=True))
        pid = await client.started()
        while client.closed is None:
            assert await client.hear() is not None
        client.close()
        assert client.closed.code == 1000
    assert client.exit is None
    await until(lambda: pid in rig.ground.living(), what="it runs")
    (tmp_path / "go").write_text("alive\n")
    await until((tmp_path / "there").exists, what="it ends by itself")
    assert (tmp_path / "there").read_text() == "alive\n"
