"""The host's disk is full: everybody is told, nothing gets worse, and room makes it work again."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from common.messages import RunPhase
from tests.agent.session.conftest import ROOMY_BYTES
from tests.support.session_agent import MB, AgentRun, Studio, steps_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.messages import StatusReport

SMALL_BYTES = 900 * MB
"""Room for a small volume, the reserve of 256 MB, and a step or two."""


@contextlib.asynccontextmanager
async def session_on_small_disk(studio: Studio) -> AsyncIterator[AgentRun]:
    async with studio.session() as run:
        studio.put_on_disk(SMALL_BYTES)
        yield run


async def told(run: AgentRun, sentence: str) -> StatusReport:
    """Wait for a report whose volume says that."""
    return await run.control_plane.reported(
        lambda report: report.volume is not None and sentence in report.volume.message
    )


async def test_first_start_on_a_full_disk_says_so_and_works_once_there_is_room(
    studio: Studio,
) -> None:
    studio.put_on_disk(SMALL_BYTES)
    others = studio.fill_disk()
    async with studio.agent() as run:
        report = await run.ended()
    assert report.phase is RunPhase.FAILED
    assert f"{studio.state} has 0 MB free" in report.message
    assert not studio.image.exists()
    studio.assert_left_in_order()
    others.unlink()
    studio.put_on_disk(ROOMY_BYTES)
    async with studio.session() as run:
        await run.stop()


async def test_next_start_on_a_full_disk_leaves_the_volume_alone(studio: Studio) -> None:
    async with session_on_small_disk(studio) as run:
        await run.out("echo kept > /workspace/file")
        await run.stop()
    before = studio.image.read_bytes()
    others = studio.fill_disk()
    async with studio.agent() as run:
        report = await run.ended()
    assert report.phase is RunPhase.FAILED
    assert "the host's disk is full" in report.message
    assert str(studio.image) in report.message
    assert studio.image.read_bytes() == before
    studio.assert_left_in_order()
    others.unlink()
    async with studio.session() as run:
        assert await run.out("cat /workspace/file") == "kept"
        await run.stop()


async def test_a_disk_that_others_fill_is_told_before_it_is_felt(studio: Studio) -> None:
    async with session_on_small_disk(studio) as run:
        others = studio.fill_disk(leave_bytes=100 * MB)
        await told(run, "the host's disk is nearly full")
        # Less is free in the volume then than there should be, and it can't grow.
        await run.out(
            "head -c 60M /dev/urandom > /workspace/file && fallocate -l 110M /workspace/x"
        )
        await told(run, "the host's disk is full: the volume can't grow")
        assert (await run.out("sync && wc -c < /workspace/file")) == str(60 * MB)
        others.unlink()
        await run.control_plane.reported(
            lambda report: (
                report.volume is not None
                and report.volume.size_bytes > studio.volume.initial_bytes
                and report.volume.message == ""
            )
        )
        await run.stop()
    studio.assert_left_in_order()


async def test_a_disk_that_is_quite_full_stops_the_volume_and_a_new_start_has_what_was_safe(
    studio: Studio,
) -> None:
    async with session_on_small_disk(studio) as run:
        await run.out("echo kept > /workspace/file && sync")
        others = studio.fill_disk()
        await run.sh("head -c 150M /dev/urandom > /workspace/lost; sync")
        await told(run, "stop and start the Studio")
        assert run.lives()
        assert await run.out("cat /workspace/file") == "kept"
        assert (await run.sh("echo more > /workspace/more")).code != 0
        report = await run.stop()
        assert report.volume is not None
        assert "stop and start the Studio" in report.volume.message
        assert [name for name, _ in steps_of(report)][-1] == "unmount the volume"
    studio.assert_left_in_order()
    others.unlink()
    async with studio.session() as run:
        assert await run.out("cat /workspace/file") == "kept"
        await run.out("echo more > /workspace/more && sync")
        report = await run.stop()
        assert report.volume is not None
        assert report.volume.message == ""
    studio.check_image()
