"""A session that writes more than its volume has at first: it grows, up to its limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.messages import RunPhase
from common.session_spec import VolumeLimits
from tests.support.session_agent import MB, AgentRun, Studio

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.messages import StatusReport, VolumeStatus

GB = 1024 * MB
SCALED = VolumeLimits(
    initial_bytes=512 * MB, free_bytes_min=256 * MB, step_bytes=256 * MB, limit_bytes=2048 * MB
)


SOAK = (pytest.mark.soak, pytest.mark.timeout(300))


async def df(run: AgentRun, what: str) -> int:
    """Return what `df` says in the session about its root, in bytes."""
    return int((await run.out(f"df --block-size=1 --output={what} /")).split()[-1])


async def told(run: AgentRun, wanted: Callable[[VolumeStatus], bool]) -> StatusReport:
    """Wait for a report, from now on, with a volume like that."""
    last = run.control_plane.reports[-1].sequence

    def fits(report: StatusReport) -> bool:
        return report.sequence > last and report.volume is not None and wanted(report.volume)

    return await run.control_plane.reported(fits)


@pytest.mark.parametrize(
    ("limits", "megabytes"),
    [
        pytest.param(SCALED, 1400, id="scaled"),
        pytest.param(VolumeLimits(), 5 * 1024, id="5 GB", marks=SOAK),
    ],
)
async def test_who_writes_as_fast_as_possible_finds_room_and_everybody_is_told(
    limits: VolumeLimits, megabytes: int
) -> None:
    with Studio(volume=limits) as studio:
        async with studio.session() as run:
            assert await df(run, "size") == limits.initial_bytes
            written = await run.sh(f"dd if=/dev/zero of=/workspace/big bs=1M count={megabytes}")
            assert written.code == 0, written
            assert await df(run, "size") > megabytes * MB
            report = await run.stop()
        studio.assert_left_in_order()
        reports = run.control_plane.reports
        assert not [report for report in reports if report.volume and report.volume.message]
        assert report.volume is not None
        size = report.volume.size_bytes
        assert (size - limits.initial_bytes) % limits.step_bytes == 0
        assert studio.image_bytes() == size
        async with studio.session() as run:
            assert await df(run, "size") >= size
            assert await run.out("stat -c %s /workspace/big") == str(megabytes * MB)


async def test_at_the_limit_the_writer_is_refused_and_who_deletes_can_write_again(
    studio: Studio,
) -> None:
    limit = studio.volume.limit_bytes
    async with studio.session() as run:
        written = await run.sh("dd if=/dev/zero of=/workspace/big bs=1M")
        assert written.code != 0
        assert "No space left on device" in written.output
        assert await df(run, "size") == limit
        assert await df(run, "used") > 0.8 * limit
        report = await run.control_plane.reported(
            lambda report: report.volume is not None and report.volume.full
        )
        assert report.volume is not None
        assert report.volume.message.startswith("the volume is at its limit of 0.625 GB and less")
        assert report.phase is RunPhase.RUNNING
        await run.out("rm /workspace/big && head -c 400M /dev/zero > /workspace/other && sync")
        await told(run, lambda volume: not volume.full and volume.message == "")
        await run.stop()
    studio.assert_left_in_order()
