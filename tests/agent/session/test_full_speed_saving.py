"""A session that writes as fast as it can while its files are saved again and again.

A snapshot keeps the space of what is deleted after it, so each must be gone before anybody misses
that space.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from common.session_spec import VolumeLimits
from tests.support.saving_studio import SavingStudio, checkpoint_of
from tests.support.session_agent import MB, SMALL

if TYPE_CHECKING:
    from tests.support.session_agent import AgentRun

pytestmark = pytest.mark.timeout(300)
SOAK = (pytest.mark.soak, pytest.mark.timeout(1200))

INTERVAL_SECONDS = 1.0
LIMITS = VolumeLimits(
    initial_bytes=512 * MB, free_bytes_min=256 * MB, step_bytes=256 * MB, limit_bytes=3072 * MB
)
LARGE_BYTES = 300 * MB
FREED_SHARE = 0.9
"""Of what is deleted, that much must count as free: the rest may be metadata, in large pieces."""
REWRITE = """
set -e
head -c {part_megabytes}M /dev/urandom >/dev/shm/part
for round in $(seq {rounds}); do
    dd if=/dev/shm/part of=/workspace/part.$((round % 4)) bs=1M status=none
    rm -f /workspace/part.$(((round + 1) % 4))
done
"""
UNPACK = """
set -e
for round in $(seq {rounds}); do
    rm -rf /workspace/tree.$((round % 3))
    cp -a /usr/share/perl /workspace/tree.$((round % 3))
done
"""

FREED = """
for _ in $(seq 100); do
    test $(df --block-size=1 --output=used / | tail -1) -le {used_max} && exit 0
    sleep 0.2
done
df /
exit 1
"""
"""For 20 seconds: a capture begins every second, and waits half as long for what it kept."""


async def used(run: AgentRun) -> int:
    """Return what `df` in the session says is used, in bytes."""
    return int((await run.out("df --block-size=1 --output=used /")).split()[-1])


async def all_is_free_again(run: AgentRun, before: int) -> None:
    """Wait for what was deleted to count as free; nothing but the kernel is needed for that."""
    used_max = before + (1 - FREED_SHARE) * LARGE_BYTES
    await run.out(FREED.format(used_max=int(used_max)))


@pytest.mark.parametrize(
    ("rounds", "part_megabytes"),
    [pytest.param(10, 100, id="scaled"), pytest.param(600, 250, id="150 GB", marks=SOAK)],
)
async def test_who_rewrites_files_at_full_speed_finds_room_while_they_are_saved(
    rounds: int, part_megabytes: int
) -> None:
    """At any time there are four parts, and what at most two captures keep: far from the limit."""
    limits = msgspec.structs.replace(LIMITS, limit_bytes=30 * part_megabytes * MB)
    with SavingStudio(volume=limits, interval_seconds=INTERVAL_SECONDS) as studio:
        async with studio.session() as run:
            script = REWRITE.format(rounds=rounds, part_megabytes=part_megabytes)
            written = await run.sh(script)
            assert written.code == 0, written
            await run.out(UNPACK.format(rounds=rounds // 3))
            sums = await run.out("cd /workspace && find . -type f | sort | xargs sha256sum")
            report = await run.stop()
        assert report.volume is not None
        assert limits.initial_bytes < report.volume.size_bytes < limits.limit_bytes
        assert not [each for each in run.control_plane.reports if each.volume and each.volume.full]
        assert checkpoint_of(report).failures == 0
        saved = [each.generation for each in await studio.records(checkpoint_of(report).id)]
        assert max(saved) > 2, "nothing was saved while the session wrote"
        async with studio.session() as run:
            assert studio.image_bytes() == limits.initial_bytes
            assert sums == await run.out("cd /workspace && find . -type f | sort | xargs sha256sum")
            await run.stop()


async def test_what_is_deleted_is_free_after_the_next_capture_or_the_one_under_way() -> None:
    with SavingStudio(volume=LIMITS, interval_seconds=INTERVAL_SECONDS) as studio:
        async with studio.session() as run:
            before = await used(run)
            await run.out(f"head -c {LARGE_BYTES} /dev/urandom >/workspace/large && sync")
            await run.control_plane.reported(
                lambda report: (
                    report.checkpoint is not None and report.checkpoint.file_bytes >= LARGE_BYTES
                )
            )
            assert await used(run) - before > FREED_SHARE * LARGE_BYTES
            await run.out("rm /workspace/large")
            await all_is_free_again(run, before)
            await run.out(f"head -c {LARGE_BYTES} /dev/urandom >/workspace/large && sync")
            await run.out("rm /workspace/large")
            await all_is_free_again(run, before)
            report = await run.stop()
        assert checkpoint_of(report).failures == 0


@pytest.mark.soak
async def test_a_full_volume_takes_writes_again_once_files_are_deleted_while_it_is_saved() -> None:
    """Only the limit explains that there is no room, and no capture keeps it from coming back."""
    with SavingStudio(volume=SMALL, interval_seconds=INTERVAL_SECONDS) as studio:
        async with studio.session() as run:
            before = await used(run)
            full = await run.sh("dd if=/dev/urandom of=/workspace/large bs=1M status=none")
            assert "No space left" in full.output
            await run.out("rm /workspace/large")
            await all_is_free_again(run, before)
            await run.out(f"head -c {LARGE_BYTES} /dev/urandom >/workspace/other && sync")
            report = await run.stop()
        assert checkpoint_of(report).message == ""
