"""What a session kept is deleted, all of it and nothing else, whatever its programs made of it."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from agent.volume.loop_volume import IMAGE_NAME as IMAGE
from control_plane.engines.engine import EngineUnavailableError
from control_plane.engines.session_folder import attached_below, mounts_below
from tests.control_plane.core.engine_contract import SESSION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.control_plane.core.local_rig import LocalRig

LEVELS = 3000  # more than Python's stack and the usual limit of open files have


async def run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()


@pytest.fixture(autouse=True)
def _a_session_that_is_over(local: LocalRig) -> None:
    """With what it kept, now and before there were volumes."""
    workspace = local.session / "workspace"
    workspace.mkdir(parents=True)
    (workspace / "notebook.ipynb").write_text("{}")
    (local.session / "tool.log").write_text("hello\n")
    with (local.session / IMAGE).open("wb") as image:
        image.truncate(128 * 1024**2)


async def test_volume_and_files_of_earlier_versions_go(local: LocalRig) -> None:
    await local.engine.forget(SESSION)
    assert list(local.folder.iterdir()) == []
    await local.engine.forget(SESSION)


async def test_links_are_removed_and_not_followed(local: LocalRig) -> None:
    kept = local.folder / "of somebody else"
    kept.mkdir()
    (kept / "file").write_text("kept")
    (local.session / "workspace" / "folder").symlink_to(kept)
    (local.session / "volume").symlink_to(kept)
    await local.engine.forget(SESSION)
    assert not local.session.exists()
    assert (kept / "file").read_text() == "kept"


async def test_a_session_that_is_a_link_leads_nowhere(local: LocalRig) -> None:
    kept = local.session.rename(local.folder / "of somebody else")
    local.session.symlink_to(kept)
    await local.engine.forget(SESSION)
    assert not local.session.is_symlink()
    assert (kept / "tool.log").exists()


async def test_strange_names_and_a_bottomless_folder_go(local: LocalRig) -> None:
    strange = os.fsencode(local.session) + b"/workspace/"
    os.mkfifo(strange + b"-rf")
    os.mkdir(strange + b"\xff" * 255)
    descriptor = os.open(strange, os.O_RDONLY)
    for _ in range(LEVELS):
        os.mkdir("deep", dir_fd=descriptor)
        below = os.open("deep", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    await local.engine.forget(SESSION)
    assert not local.session.exists()


@asynccontextmanager
async def mounted(source: str, point: Path, *options: str) -> AsyncIterator[None]:
    await run("mount", *options, source, str(point))
    try:
        yield
    finally:
        await run("umount", str(point))


async def test_what_is_mounted_in_it_is_not_deleted(local: LocalRig) -> None:
    bucket = local.folder / "a bucket"
    bucket.mkdir()
    (bucket / "object").write_text("precious")
    point = local.session / "workspace" / "my data"
    point.mkdir()
    async with mounted(str(bucket), point, "--bind"):  # on the same disk: no device number tells
        with pytest.raises(EngineUnavailableError, match="my data is mounted: unmount it"):
            await local.engine.forget(SESSION)
        assert (local.session / IMAGE).exists()
    await local.engine.forget(SESSION)
    assert (bucket / "object").read_text() == "precious"
    assert not local.session.exists()


async def test_volume_in_a_dying_namespace_is_waited_for(local: LocalRig) -> None:
    await run("mkfs.btrfs", "--quiet", str(local.session / IMAGE))
    (local.session / "volume").mkdir()
    # as an agent has it: mounted where nobody else sees it, its device unbound by the kernel
    holder = await asyncio.create_subprocess_exec(
        *("unshare", "--mount", "sh", "-c"),
        'mount -o loop "$1" "$2" && echo mounted && exec sleep 600',
        *("sh", str(local.session / IMAGE), str(local.session / "volume")),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"mounted\n"
        with pytest.raises(EngineUnavailableError, match="still attached to /dev/loop"):
            await local.engine.forget(SESSION)
        assert (local.session / IMAGE).exists()
    finally:
        holder.kill()
        await holder.wait()
    async with asyncio.timeout(10):
        while local.session.exists():
            try:
                await local.engine.forget(SESSION)
            except EngineUnavailableError:
                await asyncio.sleep(0)


def test_mounts_are_found_by_whole_names() -> None:
    lines = [
        rb"36 35 98:0 /mnt1 /s/my\040data/x\134y rw,noatime shared:1 - ext3 /dev/root rw",
        rb"37 35 98:0 / /s/my rw - tmpfs tmpfs rw",
        rb"38 35 98:0 / /s/my\040data2 rw - tmpfs tmpfs rw",
        rb"39 35 98:0 / / rw - tmpfs tmpfs rw",
    ]
    assert mounts_below("/s/my data", b"\n".join(lines)) == ["/s/my data/x\\y"]
    assert mounts_below("/s/my", b"\n".join(lines)) == ["/s/my"]


@pytest.mark.parametrize("name", ["image", "restored/image", "gone (deleted)"])
def test_a_device_is_found_by_the_file_that_it_has(tmp_path: Path, name: str) -> None:
    for number, path in enumerate(["/elsewhere", "/s/mine2/image", f"/s/mine/{name}"]):
        loop = tmp_path / f"loop{number}" / "loop"
        loop.mkdir(parents=True)
        (loop / "backing_file").write_text(path + "\n")
    (tmp_path / "loop7").mkdir()  # not bound
    found = f"/s/mine/{name}".removesuffix(" (deleted)")
    assert attached_below("/s/mine", tmp_path) == (found, "loop2")
    assert attached_below("/s/other", tmp_path) is None
