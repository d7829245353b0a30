"""kill -9 of the process that has the volume: nothing is left over, nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from typing import IO, TYPE_CHECKING

import pytest

from agent.volume import image
from agent.volume.loop_volume import IMAGE_NAME
from agent.volume.volume import ImageInUseError
from common.clock import SteppingClock
from tests.agent.volume.holder import MB, RECORD_BYTES, record
from tests.agent.volume.kernel import let_go, loop_devices, mounts, run, wait_for
from tests.support.hurried_clock import HurriedClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from common.session_spec import VolumeLimits
    from tests.agent.volume.kernel import MakeVolume


@contextlib.contextmanager
def holder(folder: Path, what: str, kind: str = "btrfs") -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.agent.volume.holder", folder, what, kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        kill_child(folder)


def kill_child(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int((folder / "child.pid").read_text()), signal.SIGKILL)


def lines_until(process: subprocess.Popen[bytes], start: str) -> str:
    """Return the first line that starts so."""
    for line in output(process):
        if line.startswith(start.encode()):
            return line.decode().strip()
    raise AssertionError(f"it ended before it said {start!r}")


def output(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None
    return process.stdout


def kill_after(process: subprocess.Popen[bytes], records: int) -> int:
    """Kill it after so many records; return the last one whose write had returned."""
    lines_until(process, f"wrote {records}")
    process.kill()
    last = records
    for line in output(process):
        if line.endswith(b"\n"):
            last = int(line.removeprefix(b"wrote "))
    process.wait()
    return last


def assert_all_is_there(upper: Path, last: int) -> None:
    assert (upper / "synced").read_bytes() == b"synced" * MB
    assert (upper / "cached").read_bytes() == b"cached" * MB
    written = (upper / "growing").read_bytes()
    assert len(written) >= (last + 1) * RECORD_BYTES
    for number in range(last + 1):
        at = number * RECORD_BYTES
        assert written[at : at + RECORD_BYTES] == record(number)


async def test_nothing_stays_and_every_byte_is_there(folder: Path, make_volume: MakeVolume) -> None:
    with holder(folder, "hold") as process:
        lines_until(process, "child")
        assert mounts(folder)
        assert len(loop_devices(folder)) == 1
        last = kill_after(process, 100)
        kill_child(folder)
    wait_for(lambda: not mounts(folder), "the end of all mounts")
    wait_for(lambda: not loop_devices(folder), "the end of all loop devices")
    volume = make_volume()
    mount = await volume.attach()
    assert_all_is_there(mount / "active/upper", last)
    await volume.detach()
    run("btrfs", "check", folder / IMAGE_NAME)


async def test_the_next_agent_need_not_wait_for_the_kernel(
    folder: Path, make_volume: MakeVolume
) -> None:
    with holder(folder, "hold") as process:
        last = kill_after(process, 500)
        kill_child(folder)
        volume = make_volume()
        mount = await volume.attach()  # while the kernel still unmounts
    assert len(loop_devices(folder)) == 1
    assert_all_is_there(mount / "active/upper", last)
    await volume.detach()
    assert loop_devices(folder) == []


async def test_a_volume_still_mounted_elsewhere_is_taken_over_with_its_cache(
    folder: Path, make_volume: MakeVolume
) -> None:
    with holder(folder, "hold") as process:
        last = kill_after(process, 100)
        device = loop_devices(folder)
        assert len(device) == 1
        assert mounts(folder), "the child has it"
        volume = make_volume()
        mount = await volume.attach()
        assert loop_devices(folder) == device, "never attached twice"
        assert_all_is_there(mount / "active/upper", last)
        kill_child(folder)
        await volume.grow(1)
    assert_all_is_there(mount / "active/upper", last)
    await volume.detach()
    assert loop_devices(folder) == []
    run("btrfs", "check", folder / IMAGE_NAME)


async def test_killed_while_resizing_nothing_is_lost(
    folder: Path, make_volume: MakeVolume, limits: VolumeLimits
) -> None:
    volume = make_volume()
    await volume.create()
    mount = await volume.attach()
    (mount / "active/upper/kept").write_bytes(b"kept" * MB)
    await volume.detach()
    for turns in range(6):
        with holder(folder, "resize") as process:
            lines_until(process, "attached")
            for _ in range(turns):
                lines_until(process, "size")
            process.kill()
            process.wait()
        await volume.attach()
        assert (mount / "active/upper/kept").read_bytes() == b"kept" * MB
        size_bytes = (await volume.measure()).size_bytes
        assert limits.initial_bytes <= size_bytes <= limits.limit_bytes
        assert size_bytes == (folder / IMAGE_NAME).stat().st_size, "finished or undone"
        await volume.detach()
        run("btrfs", "check", folder / IMAGE_NAME)


@pytest.mark.parametrize("appears", ["studios-volume.btrfs.unfinished", IMAGE_NAME])
async def test_killed_while_creating_there_is_no_image_or_a_whole_one(
    folder: Path, make_volume: MakeVolume, appears: str
) -> None:
    with holder(folder, "create") as process:
        lines_until(process, "begins")
        # On a busy machine the unfinished file may come and go between two looks.
        wait_for(lambda: any((folder / name).exists() for name in (appears, IMAGE_NAME)), appears)
        process.kill()
        process.wait()
    if (folder / IMAGE_NAME).exists():
        image.check(folder / IMAGE_NAME)
    volume = make_volume()
    await volume.create()
    mount = await volume.attach()
    (mount / "active/upper/file").touch()
    await volume.detach()
    assert not (folder / "studios-volume.btrfs.unfinished").exists()
    run("btrfs", "check", folder / IMAGE_NAME)


async def test_killed_between_two_names_of_an_image_leaves_it_one(
    folder: Path, make_volume: MakeVolume
) -> None:
    volume = make_volume()
    await volume.create()
    os.link(folder / IMAGE_NAME, folder / "studios-volume.btrfs.unfinished")
    await volume.create()
    assert os.listdir(folder) == [IMAGE_NAME]
    await volume.attach()
    await volume.detach()


async def test_a_growth_that_got_as_far_as_the_file_is_finished(
    folder: Path, make_volume: MakeVolume, limits: VolumeLimits
) -> None:
    volume = make_volume()
    await volume.create()
    await volume.attach()
    await volume.detach()
    os.truncate(folder / IMAGE_NAME, limits.initial_bytes + limits.step_bytes)
    await volume.attach()
    assert (await volume.measure()).size_bytes == limits.initial_bytes + limits.step_bytes
    await volume.detach()


async def test_a_mount_that_can_not_be_shared_is_waited_for(
    folder: Path, make_volume: MakeVolume
) -> None:
    clock = SteppingClock()
    volume = make_volume(clock=clock)
    await volume.create()
    volume.mount_point.mkdir()
    run("mount", "-t", "tmpfs", "studios-test", volume.mount_point)
    attaching = asyncio.get_running_loop().create_task(volume.attach())
    while clock.sleeping == 0:
        await asyncio.sleep(0.001)
    run("umount", volume.mount_point)
    while not attaching.done():
        await clock.advance(1)
        await asyncio.sleep(0.001)
    assert (attaching.result() / "active/upper").is_dir()
    await volume.detach()


async def test_a_log_of_fsyncs_is_replayed_after_a_power_cut(
    folder: Path, make_volume: MakeVolume
) -> None:
    volume = make_volume()
    await volume.create()
    upper = await volume.attach() / "active/upper"
    run("sync", "--file-system", upper)
    with (upper / "fsynced").open("wb") as file:
        file.write(b"x" * MB)
        file.flush()
        os.fsync(file.fileno())
        run("cp", "--sparse=always", folder / IMAGE_NAME, folder / "as-on-disk")
    await volume.detach()
    assert "log_root\t\t0" not in run(
        "btrfs", "inspect-internal", "dump-super", folder / "as-on-disk"
    )
    (folder / "as-on-disk").rename(folder / IMAGE_NAME)
    await volume.attach()
    assert (upper / "fsynced").read_bytes() == b"x" * MB
    await volume.detach()


async def test_a_device_attached_by_hand_is_taken_over_and_given_back(
    folder: Path, make_volume: MakeVolume
) -> None:
    volume = make_volume()
    await volume.create()
    device = run("losetup", "--find", "--show", folder / IMAGE_NAME).strip()
    await volume.attach()
    assert loop_devices(folder) == [device]
    await volume.detach()
    assert loop_devices(folder) == []


async def test_a_device_attached_read_only_is_left_alone(
    folder: Path, make_volume: MakeVolume
) -> None:
    await make_volume().create()
    device = run("losetup", "--find", "--show", "--read-only", folder / IMAGE_NAME).strip()
    with pytest.raises(ImageInUseError, match="losetup -d"):
        await make_volume(clock=HurriedClock()).attach()
    assert loop_devices(folder) == [device]
    assert mounts(folder) == []


async def test_a_mount_left_in_the_same_namespace_is_taken_over(
    folder: Path, make_volume: MakeVolume
) -> None:
    former = make_volume()
    await former.create()
    upper = await former.attach() / "active/upper"
    (upper / "cached").write_text("work")
    let_go(former)
    volume = make_volume()
    await volume.attach()
    assert (upper / "cached").read_text() == "work"
    assert mounts(folder) == [str(volume.mount_point)]
    await volume.detach()
    assert mounts(folder) == []
    assert loop_devices(folder) == []
