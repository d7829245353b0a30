"""`studios exec` in pipes and scripts."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from common.http1.replies import message
from tests.studios.exec.conftest import Studios, ended
from tests.support.exec_client import held
from tests.support.rig import until

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024
MEMORY_BYTES_MAX = 100 * MIB
"""Python with what it has imported takes 50."""


# ── streams ──────────────────────────────────────────────────────────────────


async def test_output_and_error_are_kept_apart(studios: Studios) -> None:
    found = await studios("demo", "--", "sh", "-c", "echo out; echo err >&2")
    assert (found.code, found.out, found.err) == (0, b"out\n", "err\n")


async def test_a_big_file_passes_exactly_and_its_end_too(studios: Studios, tmp_path: Path) -> None:
    big = os.urandom(MIB) * 50
    (tmp_path / "big").write_bytes(big)
    with (tmp_path / "big").open("rb") as file, (tmp_path / "big2").open("wb") as copy:
        process = await studios.start("-i", "demo", "--", "cat", stdin=file, stdout=copy)
        assert (await ended(process)).code == 0
    assert (tmp_path / "big2").read_bytes() == big


async def test_every_byte_passes_from_pipe_to_pipe(studios: Studios) -> None:
    data = bytes(range(256)) * 1000
    assert (await studios("-i", "demo", "--", "cat", typed=data)).out == data


async def test_input_is_left_alone_unless_it_is_wanted(studios: Studios) -> None:
    read, write = os.pipe()
    os.write(write, b"for somebody else\n")
    with os.fdopen(read, "rb", buffering=0) as stdin:
        process = await studios.start("demo", "--", "cat", stdin=stdin)
        os.close(write)
        assert await ended(process) == await studios("demo", "--", "true")
        assert stdin.read() == b"for somebody else\n"


async def test_an_input_that_can_t_be_read_is_at_its_end(studios: Studios) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as unreadable:
        found = await ended(await studios.start("-i", "demo", "--", "cat", stdin=unreadable))
    assert (found.code, found.out) == (0, b"")


async def test_a_reader_that_stops_early_ends_the_command_quietly(studios: Studios) -> None:
    read, write = os.pipe()
    with os.fdopen(write, "wb") as stdout:
        process = await studios.start("demo", "--", "yes", stdout=stdout)
    assert await asyncio.to_thread(os.read, read, 2) == b"y\n"
    os.close(read)
    found = await ended(process)
    assert (found.code, found.err) == (128 + signal.SIGPIPE, "")
    await until(lambda: not studios.place.ground.living(), what="the command has ended")


async def test_a_slow_reader_fills_no_memory(studios: Studios) -> None:
    process = await studios.start("demo", "--", "head", "-c", f"{300 * MIB}", "/dev/zero")
    assert process.stdout is not None
    await process.stdout.readexactly(1)
    (pid,) = studios.place.ground.living()
    await held(pid, connections=1)
    assert psutil.Process(process.pid).memory_info().rss < MEMORY_BYTES_MAX
    got = 1
    while data := await process.stdout.read(MIB):
        got += len(data)
    assert got == 300 * MIB
    assert (await ended(process)).code == 0


async def test_endless_input_stops_where_the_command_stops_reading(studios: Studios) -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as stdin:
        process = await studios.start("-i", "demo", "--", "head", "-c", "3000000", stdin=stdin)
    feeder = await asyncio.create_subprocess_exec("yes", stdout=write)
    os.close(write)
    found = await ended(process)
    assert await feeder.wait() == -signal.SIGPIPE
    assert found.code == 0
    assert hashlib.sha256(found.out).digest() == hashlib.sha256(b"y\n" * 1_500_000).digest()


# ── how it ends ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -KILL $$", 137)]
)
async def test_it_ends_as_the_command_does(studios: Studios, script: str, code: int) -> None:
    found = await studios("demo", "sh", "-c", script)
    assert (found.code, found.err) == (code, "")


async def test_a_command_that_is_not_there_gives_127(studios: Studios) -> None:
    found = await studios("demo", "--", "no-such-command")
    assert found.code == 127
    assert "no-such-command" in found.err


async def test_where_and_with_what_it_runs_can_be_said(studios: Studios, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    script = "pwd; echo $TOOL $MORE; printf '%s' \"$0\""
    found = await studios(
        "-w", f"{tmp_path}/sub", "-e", "MORE=a=b", "demo", "sh", "-c", script, b"\xff"
    )
    assert found.out == f"{tmp_path}/sub\nyes a=b\n".encode() + b"\xff"
    assert (await studios("demo", "pwd")).out == f"{tmp_path}\n".encode()


async def test_detached_it_prints_the_pid_and_returns(studios: Studios, tmp_path: Path) -> None:
    found = await studios("--detach", "demo", "--", "sleep", "600")
    assert found.code == 0
    await until(lambda: int(found.out) in studios.place.ground.living(), what="it runs")


# ── signals ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
async def test_signals_are_the_command_s(studios: Studios, number: signal.Signals) -> None:
    script = f"trap 'echo caught; exit 9' {number.value}; echo ready; while :; do sleep 0.01; done"
    process = await studios.start("demo", "--", "sh", "-c", script)
    assert process.stdout is not None
    await process.stdout.readexactly(6)
    process.send_signal(number)
    found = await ended(process)
    assert (found.code, found.out) == (9, b"caught\n")


async def test_one_who_is_impatient_gets_away(studios: Studios) -> None:
    script = "trap 'echo no' INT; echo ready; while :; do sleep 0.01; done"
    process = await studios.start("demo", "--", "sh", "-c", script)
    assert process.stdout is not None
    await process.stdout.readexactly(6)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        assert await process.stdout.readexactly(3) == b"no\n"
    process.send_signal(signal.SIGINT)
    assert (await ended(process)).code == 130
    await until(lambda: not studios.place.ground.living(), what="the command has ended")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
async def test_when_it_goes_the_command_goes(studios: Studios, number: signal.Signals) -> None:
    process = await studios.start("demo", "--", "sh", "-c", "echo ready; sleep 600")
    assert process.stdout is not None
    await process.stdout.readexactly(6)
    process.send_signal(number)
    assert (await ended(process)).code in (128 + number, -number)
    await until(lambda: not studios.place.ground.living(), what="the command has ended")


# ── when it is studios that fails ────────────────────────────────────────────


async def test_a_connection_that_is_lost_is_said_to_be(studios: Studios) -> None:
    for options, code in ((), 5), (("--failure-code", "125"), 125):
        process = await studios.start(*options, "demo", "--", "sh", "-c", "echo ready; sleep 600")
        assert process.stdout is not None
        await process.stdout.readexactly(6)
        studios.place.cut()
        found = await ended(process)
        assert found.code == code
        assert found.err.startswith("Error: The connection to the session was lost")
        assert "command was ended" in found.err


async def test_a_session_that_stops_is_announced(studios: Studios) -> None:
    process = await studios.start("demo", "--", "sh", "-c", "echo ready; exec sleep 600")
    assert process.stdout is not None
    await process.stdout.readexactly(6)
    studios.place.execs.announce_end()
    assert await studios.place.ground.end_all(5.0)
    found = await ended(process)
    assert found.code in (128 + signal.SIGTERM, 128 + signal.SIGHUP)
    assert found.err == "The session is being stopped.\n"


async def test_refusals_have_the_documented_codes(studios: Studios) -> None:
    cases = {
        401: (4, "This token was used before."),
        403: (4, "Commands are for programs."),
        400: (1, "Only studio-exec.1 is spoken here."),
        503: (5, "Too many commands."),
    }
    for status, (code, sentence) in cases.items():
        studios.place.refuse = message(status, sentence)
        found = await studios("demo", "--", "true")
        assert (found.code, found.err) == (code, f"Error: {sentence}\n")
    studios.place.refuse = None
    studios.api.refuse = (403, "Ask ada.")
    found = await studios("--failure-code", "99", "demo", "--", "true")
    assert (found.code, found.err) == (99, "Error: Ask ada.\n")


async def test_what_can_t_be_started_is_no_exit_code(studios: Studios) -> None:
    await studios.place.ground.leave()
    found = await studios("demo", "--", "true")
    assert (found.code, found.err) == (1, "Error: The session has not been made, or has ended.\n")


async def test_nobody_at_the_address_is_unreachable(studios: Studios) -> None:
    studios.api.exec_url = "http://a1234abcd.studio.localhost:1/.studio/exec"
    assert (await studios("demo", "--", "true")).code == 5


async def test_no_command_without_a_session(studios: Studios) -> None:
    studios.api.have("0a1b2c3d", "asleep", "stopped")
    found = await studios("asleep", "--", "true")
    assert (found.code, "start 0a1b2c3d" in found.err) == (1, True)
    assert (await studios("nothing", "--", "true")).code == 3


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("demo",), "COMMAND"),
        (("demo", "--"), "command"),
        (("demo", "--", ""), "command"),
        (("demo", "-it", "bash"), "before the Studio"),
        (("-t", "demo", "--", "bash"), "terminal"),
        (("-di", "demo", "--", "cat"), "detached"),
        (("-e", "x", "demo", "--", "env"), "NAME=VALUE"),
    ],
)
async def test_a_command_line_that_makes_no_sense_asks_nobody(
    studios: Studios, arguments: tuple[str, ...], named: str
) -> None:
    found = await studios(*arguments)
    assert found.code == 2
    assert named in found.err
    assert studios.api.seen == []
