"""What every ground promises, but of `enter`: see `agent.parts.Ground`."""

from __future__ import annotations

import asyncio
import os
import signal

from agent.supervisor.plain_http import get
from tests.support.agent_rig import SESSION_PYTHON
from tests.support.ground_stand import GRACE_SECONDS, SECRET, SERVE, Stand, left, made, unmade

DAEMON = """
if os.fork() > 0: os._exit(0)
os.setsid()
if os.fork() > 0: os._exit(0)
"""
"""Out of its group, its session and its parent's sight."""


# ── Before it is made ────────────────────────────────────────────────────────


@unmade
async def nothing_can_be_started_before_it_is_made(stand: Stand) -> None:
    await stand.starts_nothing()


@unmade
async def before_it_is_made_there_is_nothing_to_end_or_to_measure(stand: Stand) -> None:
    assert await stand.ground.end_all(GRACE_SECONDS)
    assert stand.ground.use() is None
    assert stand.ground.progress()


@unmade
async def leaving_what_was_never_made_does_nothing(stand: Stand) -> None:
    await stand.ground.leave()
    await stand.ground.detach()


# ── While it stands: start, signal, wait ─────────────────────────────────────


@made
async def what_a_program_prints_is_collected_and_its_exit_code_told(stand: Stand) -> None:
    program = await stand.shell("echo out; echo err >&2; exit 3")
    assert await program.wait() == 3
    await stand.prints(b"out\nerr\n")


@made
async def a_program_sees_the_variables_it_is_given_and_not_the_agent_s(stand: Stand) -> None:
    assert os.environ[SECRET]
    await stand.shell(f'echo "[$GREETING][${SECRET}]"')
    await stand.prints(b"[hello][]\n")


@made
async def a_program_starts_in_its_working_directory(stand: Stand) -> None:
    await stand.shell('echo "[$(pwd)]"')
    await stand.prints(f"[{stand.working_directory}]\n".encode())


@made
async def a_program_that_does_not_exist_is_named_and_ends_with_127(stand: Stand) -> None:
    program = await stand.start("/nowhere/jupyter", "lab")
    assert await program.wait() == 127
    await stand.prints(b"/nowhere/jupyter")


@made
async def an_end_by_a_signal_is_a_negative_number(stand: Stand) -> None:
    program = await stand.shell("kill -KILL $$")
    assert await program.wait() == -signal.SIGKILL


@made
async def whoever_waits_learns_it_also_again_and_after_another_gave_up(stand: Stand) -> None:
    program = await stand.shell("read line; exit 4")  # from /dev/null
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(program.wait())
        await asyncio.sleep(0)
        waiting.cancel()
    assert await program.wait() == 4
    assert await program.wait() == 4


@made
async def a_program_leads_its_own_group_and_session_under_the_pid_it_is_known_by(
    stand: Stand,
) -> None:
    program = await stand.start("sleep", "600")
    script = f"import os; print(os.getpgid({program.pid}), os.getsid({program.pid}))"
    code, printed = await stand.answer(SESSION_PYTHON, "-c", script)
    assert (code, printed.split()) == (0, [str(program.pid).encode()] * 2)


@made
async def a_signal_reaches_the_program_s_group_and_nobody_else(stand: Stand) -> None:
    other = await stand.shell("trap 'echo wrong' USR1; echo other; while :; do sleep 600; done")
    child = "(trap 'echo child; exit' USR1; echo ready; sleep 600 & wait)"
    program = await stand.shell(f"{child} & trap 'wait; exit 7' USR1; wait")
    await stand.prints(b"other")
    await stand.prints(b"ready")
    stand.ground.send_signal(program, signal.SIGUSR1)
    assert await program.wait() == 7
    await stand.prints(b"child")
    stand.ground.send_signal(other, signal.SIGTERM)
    assert await other.wait() == -signal.SIGTERM
    assert b"wrong" not in stand.printed


@made
async def a_signal_to_a_program_that_has_ended_is_nothing(stand: Stand) -> None:
    program = await stand.shell("true")
    await program.wait()
    stand.ground.send_signal(program, signal.SIGKILL)


@made
async def a_port_of_its_programs_is_reached_at_its_address(stand: Stand) -> None:
    assert not await stand.listens()
    await stand.serve(SERVE)
    status, body = await get(stand.ground.address(stand.port), "/", limit_seconds=10)
    assert (status, body) == (200, b"hello")
    assert stand.ground.address(stand.port) == stand.ground.address(stand.port)


# ── While it stands: end_all ─────────────────────────────────────────────────


@made
async def where_nothing_runs_end_all_has_nothing_to_do(stand: Stand) -> None:
    assert await stand.ground.end_all(GRACE_SECONDS)
    assert await stand.ground.end_all(0)


@made
async def end_all_lets_programs_end_in_their_own_way(stand: Stand) -> None:
    program = await stand.shell("trap 'echo bye; exit 5' TERM HUP; echo ready; sleep 600 & wait")
    await stand.prints(b"ready")
    assert await stand.ground.end_all(GRACE_SECONDS)
    assert await program.wait() == 5
    await stand.prints(b"bye")


@made
async def end_all_without_a_grace_kills_at_once(stand: Stand) -> None:
    program = await stand.shell("trap 'echo bye; exit 5' TERM HUP; echo ready; sleep 600 & wait")
    await stand.prints(b"ready")
    assert await stand.ground.end_all(0)
    assert await program.wait() == -signal.SIGKILL
    assert b"bye" not in stand.printed


@made
async def end_all_kills_what_ignores_it(stand: Stand) -> None:
    program = await stand.shell("trap '' TERM HUP; echo ready; while :; do sleep 600; done")
    await stand.prints(b"ready")
    assert await stand.ground.end_all(0.1)
    assert await program.wait() == -signal.SIGKILL


@made
async def end_all_ends_a_daemon_that_left_group_session_and_parent(stand: Stand) -> None:
    program = await stand.serve(DAEMON + SERVE)
    assert await program.wait() == 0
    assert await stand.listens()
    assert await stand.ground.end_all(GRACE_SECONDS)
    assert not await stand.listens()


@made
async def end_all_kills_a_daemon_that_ignores_it(stand: Stand) -> None:
    ignore = "for n in (signal.SIGTERM, signal.SIGHUP): signal.signal(n, signal.SIG_IGN)\n"
    await stand.serve(DAEMON + ignore + SERVE)
    assert await stand.ground.end_all(0.1)
    assert not await stand.listens()


@made
async def end_all_returns_when_ports_are_free_again(stand: Stand) -> None:
    """The kernel takes a process's memory away first, which takes a while of so much."""
    await stand.serve(DAEMON + "held = b'x' * 500_000_000\n" + SERVE)
    assert await stand.ground.end_all(0)
    assert not await stand.listens()


@made
async def end_all_wakes_what_was_stopped(stand: Stand) -> None:
    program = await stand.shell(
        "trap 'exit 6' TERM HUP; echo ready; kill -STOP $$; sleep 600 & wait"
    )
    await stand.prints(b"ready")
    assert await stand.ground.end_all(GRACE_SECONDS)
    assert await program.wait() == 6


@made
async def end_all_ends_what_is_started_meanwhile(stand: Stand) -> None:
    forker = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
threading.Thread(target=server.serve_forever).start()
print("serving", flush=True)
for _ in range(400):
    if os.fork() == 0: time.sleep(600)
    time.sleep(0.025)
"""
    await stand.serve(forker)
    assert await stand.ground.end_all(0.1)
    assert not await stand.listens()


@made
async def after_end_all_it_can_be_stood_on_again(stand: Stand) -> None:
    await stand.start("sleep", "600")
    assert await stand.ground.end_all(GRACE_SECONDS)
    assert await (await stand.shell("exit 9")).wait() == 9


# ── Afterwards ───────────────────────────────────────────────────────────────


@left
async def nothing_can_be_started_once_it_was_left(stand: Stand) -> None:
    await stand.starts_nothing()


@left
async def leaving_it_twice_is_leaving_it(stand: Stand) -> None:
    await stand.ground.leave()
    await stand.ground.detach()
    assert await stand.ground.end_all(GRACE_SECONDS)
