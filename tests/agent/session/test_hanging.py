"""Stops while a process waits for a file system that never answers, which no signal ends."""

from __future__ import annotations

import pytest

from agent.proctable import read_process
from common.messages import StepState
from tests.support.hung_link import HungLink, hung_link
from tests.support.session_agent import IN_ORDER, AgentRun, Studio, steps_of

pytestmark = pytest.mark.timeout(120)  # each step of these ends takes as long as it may


async def hang(run: AgentRun, link: HungLink, path: str) -> int:
    """Have a process of the session wait for the link for ever; return the host's pid of it."""
    before = set(run.processes())
    await run.out(f"( setsid cat {path}/object & ) < /dev/null > /dev/null 2>&1")
    await link.heard("reading")
    (pid,) = set(run.processes()) - before
    return pid


async def test_who_hangs_in_a_data_link_is_freed_and_the_stop_is_in_order(studio: Studio) -> None:
    async with studio.session() as run:
        await run.out("mkdir -p /workspace/data/x")
        with run.hung_link("/workspace/data/x") as link:
            await link.heard("mounted")
            await hang(run, link, "/workspace/data/x")
            report = await run.stop()
            assert steps_of(report) == IN_ORDER
            studio.assert_left_in_order()
    async with studio.session() as run:
        assert await run.out("ls -A /workspace/data/x") == "", "an empty folder, no link"
        await run.stop()


async def test_what_cannot_be_ended_is_told_and_left_behind_and_the_next_start_goes_on(
    studio: Studio,
) -> None:
    """It hangs in a mount of the machine that was carried along, which is not ours to abort."""
    carried = studio.folder / "carried"
    carried.mkdir()
    studio.carried = (str(carried),)
    with hung_link(carried) as link:
        await link.heard("mounted")
        async with studio.session() as run:
            first = studio.first_process()
            pid = await hang(run, link, str(carried))
            await run.out("echo kept > /workspace/file")
            report = await run.stop()
        assert [name for name, _ in steps_of(report)] == [name for name, _ in IN_ORDER]
        told = {step.name: step for step in report.stop_steps}
        assert told["end the session"].state is StepState.ERRORED
        assert "survive SIGKILL" in told["end the session"].message
        assert told["unmount the volume"].state is StepState.ERRORED
        assert str(studio.image) in told["unmount the volume"].message
        assert studio.first_process() == first, "the note stays: it has not ended"
        assert read_process(pid) is not None
        async with studio.session() as run:
            assert await run.out("cat /workspace/file") == "kept"
            await run.out("echo more > /workspace/more")
            await run.kill()
    await studio.nothing_remains()
    async with studio.session() as run:
        assert await run.out("cat /workspace/file /workspace/more") == "kept\nmore"
        report = await run.stop()
    assert steps_of(report) == IN_ORDER
    studio.check_image()
