"""Stops: whatever runs in a session, it ends in the documented order and leaves nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.messages import RunState, StepState
from tests.support.agent_rig import until
from tests.support.session_agent import FORCED, IN_ORDER, Studio, steps_of

if TYPE_CHECKING:
    from tests.support.session_agent import AgentRun

QUIET = "< /dev/null > /dev/null 2>&1"
DEAF = "trap '' TERM HUP INT"
LONG_SECONDS = 600.0  # a grace that no test would wait for

DAEMON = f"""
( setsid bash -c "{DEAF}
  ( setsid bash -c 'echo up > /workspace/up; sleep 1000' ) & sleep 1000" & ) {QUIET}
"""
"""Forked twice and in sessions of their own; they ignore what asks them to end."""

FILES = f"""
mkdir -p /workspace/folder && cd /workspace/folder
( setsid bash -c "{DEAF}
  exec 8> open 9> deleted; rm deleted; echo data >&8; echo data >&9; echo up > /workspace/up
  while :; do sleep 1; done" & ) {QUIET}
"""
"""Has files open, one of them deleted, and its working directory in the volume."""

MAPPED = f"""
( setsid /usr/bin/python3 -c "
import mmap, os, signal
for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)
fd = os.open('/workspace/mapped', os.O_RDWR | os.O_CREAT)
os.truncate(fd, 4096)
memory = mmap.mmap(fd, 4096)
memory[:4] = b'data'
open('/workspace/up', 'w').close()
signal.pause()
" & ) {QUIET}
"""

LATE = f"""
( setsid bash -c "trap 'echo late > /workspace/late; exit' TERM
  echo up > /workspace/up; while :; do sleep 0.01; done" & ) {QUIET}
"""
"""Writes its last words when it is asked to end."""

SHELL = f"""
( setsid bash -c "trap '' TERM; echo up > /workspace/up; while :; do sleep 1; done" & ) {QUIET}
"""

FORKS = f"""
for n in 1 2 3; do ( setsid bash -c "{DEAF}; while :; do /bin/true & done" & ) {QUIET}; done
echo up > /workspace/up
"""
"""There is always one that was started after everybody was sent a signal."""

STOPPED = f"""
( setsid bash -c "kill -STOP \\$\\$" & ) {QUIET}
until grep --quiet "State:.T" /proc/[0-9]*/status; do sleep 0.01; done; echo up > /workspace/up
"""

ZOMBIES = f"""
( setsid /usr/bin/python3 -c "
import os, time
for _ in range(1000):
    if os.fork() == 0: os._exit(0)
open('/workspace/up', 'w').close()
time.sleep(1000)
" & ) {QUIET}
"""


async def started(run: AgentRun, script: str) -> None:
    up = run.files / "workspace/up"
    up.unlink(missing_ok=True)
    await run.out(script)
    await until(up.exists, what="what the script started is there")


@pytest.mark.parametrize(
    "scripts",
    [
        pytest.param((DAEMON, FILES, MAPPED), id="deaf daemons with files"),
        pytest.param((FORKS,), id="endless forks"),
        pytest.param((ZOMBIES,), id="zombies"),
    ],
)
async def test_a_stop_ends_it_in_the_documented_order_and_leaves_nothing(
    studio: Studio, scripts: tuple[str, ...]
) -> None:
    async with studio.session() as run:
        for script in scripts:
            await started(run, script)
        report = await run.stop()
    assert steps_of(report) == IN_ORDER
    assert "processes_survive" not in studio.log()
    studio.assert_left_in_order()
    studio.check_image()


async def test_what_was_written_before_and_during_a_stop_is_there_afterwards(
    studio: Studio,
) -> None:
    async with studio.session() as run:
        for script in (FILES, MAPPED, LATE):
            await started(run, script)
        await run.stop()
    async with studio.session() as run:
        assert await run.out("cat /workspace/folder/open") == "data"
        assert await run.out("head -c 4 /workspace/mapped") == "data"
        assert await run.out("cat /workspace/late") == "late"
        assert (await run.sh("ls /workspace/folder/deleted")).code != 0
        await run.stop()


@pytest.mark.parametrize(
    "script", [pytest.param(SHELL, id="ignores SIGTERM"), pytest.param(STOPPED, id="is stopped")]
)
async def test_who_only_needs_another_signal_to_end_is_not_waited_for(script: str) -> None:
    with Studio(grace_seconds=LONG_SECONDS) as studio:
        async with studio.session() as run:
            await started(run, script)
            report = await run.stop()
        assert steps_of(report) == IN_ORDER
        studio.assert_left_in_order()


# ── Forced ───────────────────────────────────────────────────────────────────


async def test_a_second_signal_cuts_the_grace_short_and_keeps_the_order() -> None:
    with Studio(grace_seconds=LONG_SECONDS) as studio:
        async with studio.session() as run:
            await started(run, DAEMON)
            run.terminate()
            await run.control_plane.reported(
                lambda report: ("stop the tool", StepState.IN_PROGRESS) in steps_of(report)
            )
            report = await run.stop()
        assert steps_of(report) == FORCED
        studio.assert_left_in_order()
        studio.check_image()


async def test_the_control_plane_can_force_it_too() -> None:
    with Studio(grace_seconds=LONG_SECONDS) as studio:
        async with studio.session() as run:
            await started(run, FORKS + DAEMON)
            await run.control_plane.wish(RunState.STOP)
            await run.control_plane.reported(
                lambda report: ("stop the tool", StepState.IN_PROGRESS) in steps_of(report)
            )
            await run.control_plane.wish(RunState.FORCE_STOP)
            report = await run.ended()
        assert steps_of(report) == FORCED
        studio.assert_left_in_order()
