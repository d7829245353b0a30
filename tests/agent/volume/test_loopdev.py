"""Loop devices: races, missing nodes, none left."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from agent.volume.loop_volume import IMAGE_NAME
from agent.volume.loopdev import TRIES_MAX, LoopDevice, LoopDevices, kernels_choice
from agent.volume.volume import KernelLacksError, NoLoopDeviceError, VolumeError
from tests.agent.volume.kernel import loop_devices, mounts, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from common.session_spec import VolumeLimits
    from tests.agent.volume.kernel import MakeVolume


@pytest.fixture
def nodes(folder: Path) -> Path:
    """A /dev like a container's: with loop-control, without any loop device."""
    path = folder / "dev"
    path.mkdir()
    os.mknod(path / "loop-control", 0o600 | stat.S_IFCHR, os.makedev(10, 237))
    return path


@pytest.fixture
def taken(folder: Path) -> Iterator[int]:
    """The number of a device that somebody else has."""
    file = folder / "somebody-elses"
    file.write_bytes(b"\0" * 4096)
    device = run("losetup", "--find", "--show", file).strip()
    yield int(device.removeprefix("/dev/loop"))
    run("losetup", "--detach", device)


class Choices:
    """Names these devices as free, one after the other, then what the kernel says."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = list(numbers)
        self.asked = 0

    def __call__(self, control_fd: int) -> int:
        self.asked += 1
        return self._numbers.pop(0) if self._numbers else kernels_choice(control_fd)


async def test_a_device_taken_in_between_is_not_taken_away(
    folder: Path, make_volume: MakeVolume, taken: int
) -> None:
    choices = Choices(taken, taken)
    volume = make_volume(devices=LoopDevices(next_free=choices))
    await volume.create()
    await volume.attach()
    assert choices.asked == 3
    assert len(loop_devices(folder)) == 2
    await volume.detach()


async def test_no_free_device_is_said_after_a_bounded_number_of_tries(
    folder: Path, make_volume: MakeVolume, taken: int
) -> None:
    choices = Choices(*[taken] * 1000)
    volume = make_volume(devices=LoopDevices(next_free=choices))
    await volume.create()
    with pytest.raises(NoLoopDeviceError, match="no free loop device") as caught:
        await volume.attach()
    assert caught.value.retry_helps
    assert choices.asked == TRIES_MAX
    assert mounts(folder) == []
    volume = make_volume()
    await volume.attach()
    await volume.detach()


async def test_a_kernel_that_makes_no_more_devices_is_said(
    folder: Path, make_volume: MakeVolume
) -> None:
    def exhausted(control_fd: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    volume = make_volume(devices=LoopDevices(next_free=exhausted))
    await volume.create()
    with pytest.raises(NoLoopDeviceError, match="no free loop device"):
        await volume.attach()
    assert mounts(folder) == []


async def test_missing_nodes_are_made(folder: Path, make_volume: MakeVolume, nodes: Path) -> None:
    volume = make_volume(devices=LoopDevices(nodes))
    await volume.create()
    mount = await volume.attach()
    assert (mount / "active/upper").is_dir()
    assert loop_devices(folder)[0].removeprefix("/dev/") in os.listdir(nodes)
    await volume.detach()


async def test_a_container_without_loop_control_is_told_what_it_lacks(
    folder: Path, make_volume: MakeVolume, nodes: Path
) -> None:
    (nodes / "loop-control").unlink()
    volume = make_volume(devices=LoopDevices(nodes))
    await volume.create()
    with pytest.raises(KernelLacksError, match="loop-control is missing"):
        await volume.attach()


@pytest.mark.parametrize("how", ["removed", "renamed"])
async def test_a_volume_works_on_without_its_node(
    folder: Path, make_volume: MakeVolume, nodes: Path, how: str
) -> None:
    volume = make_volume(devices=LoopDevices(nodes))
    await volume.create()
    mount = await volume.attach()
    node = nodes / loop_devices(folder)[0].removeprefix("/dev/")
    if how == "removed":
        node.unlink()
    else:
        node.rename(nodes / "renamed")
    before = (await volume.measure()).size_bytes
    assert await volume.grow(1) > before
    (mount / "active/upper/file").write_bytes(b"x" * 1024**2)
    await volume.detach()
    assert loop_devices(folder) == []


async def test_a_node_that_is_something_else_is_not_written_to(
    folder: Path, make_volume: MakeVolume, nodes: Path, taken: int
) -> None:
    victim = nodes / f"loop{taken}"
    victim.write_bytes(b"a file by that name")
    volume = make_volume(devices=LoopDevices(nodes, next_free=Choices(taken)))
    await volume.create()
    with pytest.raises(KernelLacksError, match="is not loop device"):
        await volume.attach()
    assert victim.read_bytes() == b"a file by that name"


async def test_the_device_unbinds_itself_and_caches_nothing_twice(
    folder: Path, make_volume: MakeVolume
) -> None:
    volume = make_volume()
    await volume.create()
    await volume.attach()
    columns = run(
        "losetup",
        "--noheadings",
        "--output",
        "AUTOCLEAR,DIO,LOG-SEC,RO",
        "--associated",
        folder / IMAGE_NAME,
    )
    assert columns.split() == ["1", "1", "4096", "0"]
    await volume.detach()


async def test_growths_that_fail_half_way_do_not_add_up(
    folder: Path, make_volume: MakeVolume, limits: VolumeLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = make_volume()
    await volume.create()
    await volume.attach()

    def refuse(device: LoopDevice) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(LoopDevice, "reread_size", refuse)
        for _ in range(5):
            with pytest.raises(VolumeError, match="can't grow"):
                await volume.grow(1)
            assert (await volume.measure()).size_bytes == limits.initial_bytes
    assert await volume.grow(1) == limits.initial_bytes + limits.step_bytes
    assert (folder / IMAGE_NAME).stat().st_size == limits.initial_bytes + limits.step_bytes
    await volume.detach()
