"""What every ground promises of `enter`."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

from agent.supervisor.plain_http import get
from tests.support.ground_stand import CLAIM_SECONDS_MAX, GRACE_SECONDS, Stand, made

if TYPE_CHECKING:
    from agent.parts import EnteredProgram


@made
async def an_entered_program_has_the_streams_it_is_given(stand: Stand) -> None:
    answer = await stand.answer("sh", "-c", "echo out; echo err >&2; cat; exit 5")
    assert answer == (5, b"out\nerr\n")
    assert stand.printed == b""


@made
async def an_entered_program_that_does_not_exist_ends_with_127(stand: Stand) -> None:
    code, printed = await stand.answer("/nowhere/bash")
    assert code == 127
    assert b"/nowhere/bash" in printed


@made
async def without_streams_an_entered_program_is_on_a_terminal_that_it_controls(
    stand: Stand,
) -> None:
    program = await stand.enter("sh", "-c", "test -t 0 && echo fine >/dev/tty", streams=None)
    assert program.terminal_fd is not None
    try:
        assert await program.wait() == 0
        assert await asyncio.to_thread(os.read, program.terminal_fd, 100) == b"fine\r\n"
    finally:
        os.close(program.terminal_fd)
        await program.close()


@made
async def a_terminal_has_its_size_before_its_program_looks(stand: Stand) -> None:
    program = await stand.enter("stty", "size", streams=None, terminal_size=(17, 71))
    assert program.terminal_fd is not None
    assert await asyncio.to_thread(os.read, program.terminal_fd, 100) == b"17 71\r\n"
    assert await program.wait() == 0
    await _close(program)


@made
async def an_entered_program_is_signalled_with_its_group(stand: Stand) -> None:
    program = await stand.enter("sh", "-c", "sleep 600; true", streams=None)
    program.send_signal(signal.SIGTERM)
    assert await program.wait() == -signal.SIGTERM
    await _close(program)


@made
async def closing_an_entered_program_ends_it(stand: Stand) -> None:
    program = await stand.enter_server(outlives_agent=False)
    await program.close()
    await program.close()
    async with asyncio.timeout(CLAIM_SECONDS_MAX):
        while await stand.listens():
            await asyncio.sleep(0)


@made
async def one_that_outlives_its_agent_goes_on_until_end_all(stand: Stand) -> None:
    program = await stand.enter_server(outlives_agent=True)
    await program.close()
    status, _ = await get(stand.ground.address(stand.port), "/", limit_seconds=10)
    assert status == 200
    assert await stand.ground.end_all(0)
    assert not await stand.listens()


@made
async def end_all_needs_no_sigkill_for_a_shell_at_its_prompt(stand: Stand) -> None:
    program = await stand.enter("bash", "--norc", "--noediting", "-i", streams=None)
    assert program.terminal_fd is not None
    assert b"# " in await asyncio.to_thread(os.read, program.terminal_fd, 100)
    assert await stand.ground.end_all(GRACE_SECONDS)
    assert await program.wait() != -signal.SIGKILL
    await _close(program)


@made
async def end_all_ends_entered_programs(stand: Stand) -> None:
    program = await stand.enter("sleep", "600", streams=None)
    assert await stand.ground.end_all(0)
    assert await program.wait() == -signal.SIGKILL
    await _close(program)


async def _close(program: EnteredProgram) -> None:
    await program.close()
    if program.terminal_fd is not None:
        os.close(program.terminal_fd)
