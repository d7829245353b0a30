"""A session's image is used by one agent at a time, whoever else would like to."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from common.messages import RunPhase
from tests.support.agent_rig import until
from tests.support.seen_session import left_of

if TYPE_CHECKING:
    from tests.support.session_agent import Studio


def attach(studio: Studio, *options: str) -> str:
    """Attach the image by hand; return the device."""
    command = ["losetup", "--find", "--show", *options, str(studio.image)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def detach(device: str) -> None:
    subprocess.run(["losetup", "--detach", device], check=True)


async def test_a_second_agent_waits_for_the_first_and_finds_what_it_left(studio: Studio) -> None:
    async with studio.session() as first, studio.agent() as second:
        await until(lambda: "waiting_for_former_agent" in studio.log(), what="the second one waits")
        await first.out("echo written > /workspace/file")
        await first.stop()
        await second.running()
        assert await second.out("cat /workspace/file") == "written"
        await second.stop()
    studio.assert_left_in_order()


async def test_a_second_agent_that_is_not_wanted_any_more_names_the_first(studio: Studio) -> None:
    async with studio.session() as first, studio.agent() as second:
        await until(lambda: "waiting_for_former_agent" in studio.log(), what="the second one waits")
        second.terminate()
        report = await second.ended()
        assert report.phase is RunPhase.FAILED
        assert f"another agent of this session (process {first.pid}) still runs" in report.message
        assert await first.out("echo undisturbed") == "undisturbed"
        await first.stop()
    studio.assert_left_in_order()


async def test_a_second_agent_takes_over_from_a_first_one_that_is_killed(studio: Studio) -> None:
    async with studio.session() as first, studio.agent() as second:
        await until(lambda: "waiting_for_former_agent" in studio.log(), what="the second one waits")
        await first.out("echo written > /workspace/file")
        await first.kill()
        await second.running()
        assert await second.out("cat /workspace/file") == "written"
        await second.stop()
    studio.assert_left_in_order()


async def test_an_image_that_somebody_left_attached_is_used_and_given_back(studio: Studio) -> None:
    async with studio.session() as run:
        await run.stop()
    attach(studio)
    async with studio.session() as run:
        assert len([line for line in left_of(studio.image) if line.startswith("loop")]) == 1
        await run.stop()
    studio.assert_left_in_order()


async def test_an_image_attached_in_a_way_that_cannot_be_shared_is_named_with_its_device(
    studio: Studio,
) -> None:
    async with studio.session() as run:
        await run.out("echo kept > /workspace/file")
        await run.stop()
    device = attach(studio, "--read-only")
    try:
        async with studio.agent() as run:
            report = await run.ended()
        assert report.phase is RunPhase.FAILED
        assert f"{device} shows the image {studio.image} read-only" in report.message
        assert "losetup -d" in report.message
    finally:
        detach(device)
    async with studio.session() as run:
        assert await run.out("cat /workspace/file") == "kept"
        await run.stop()


# ── Loop devices ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("lack", "sentence"),
    [
        ("no_loop_control", "/dev/loop-control"),
        ("no_free_loop_device", "the host has no free loop device"),
    ],
)
async def test_without_loop_devices_the_run_ends_with_a_sentence_and_leaves_nothing(
    studio: Studio, lack: str, sentence: str
) -> None:
    through = ("/usr/bin/python3", "-m", "tests.support.poor_host", lack)
    async with studio.agent(through=through) as run:
        report = await run.ended()
    assert report.phase is RunPhase.FAILED
    assert sentence in report.message
    studio.assert_left_in_order()
    async with studio.session() as run:
        await run.stop()
