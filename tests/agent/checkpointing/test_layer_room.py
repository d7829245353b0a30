"""A restored layer takes the room that it needs, and no room that somebody was promised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from agent.checkpointing import layer as layer_module
from agent.checkpointing.saver import NoRoomError
from agent.volume.loop_volume import IMAGE_NAME
from tests.agent.checkpointing.layer_rig import (
    MB,
    assert_nothing_is_left,
    much,
    restored_layer,
    saved_of,
)
from tests.support.checkpoint_rig import seen
from tests.support.full_disk import small_disk
from tests.support.saver_rig import saving, work_directory

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("others_mb", "room"), [(210, "0.205"), (120, "0.293")], ids=["at once", "while it is filled"]
)
async def test_a_full_disk_of_the_host_is_told_with_how_much_it_takes(
    tmp_path: Path, host: Path, files: Path, others_mb: int, room: str
) -> None:
    much(files, 13)
    async with saving(work_directory(tmp_path)) as saver:
        saved = await saved_of(saver, files)
        with small_disk(host, size_bytes=420 * MB) as disk:
            layer = restored_layer(host)
            (host / "others").write_bytes(bytes(others_mb * MB))
            with pytest.raises(NoRoomError) as too_small:
                await layer.make(saver, saved, over=[])
            assert "need about 0.557 GB" in str(too_small.value)
            assert f"at {host}/restored, and {room} GB" in str(too_small.value)
            assert_nothing_is_left(host)
            disk.free()
            assert seen(await layer.make(saver, saved, over=[])) == seen(files)
            await layer.drop()
            assert_nothing_is_left(host)


async def test_holes_need_no_room(tmp_path: Path, host: Path, files: Path) -> None:
    with (files / "sparse").open("wb") as file:
        file.truncate(10 * 1024 * MB)
        file.write(b"content")
    async with saving(work_directory(tmp_path)) as saver:
        saved = await saved_of(saver, files)
        with small_disk(host, size_bytes=300 * MB):
            layer = restored_layer(host)
            path = await layer.make(saver, saved, over=[])
            assert (path / "sparse").stat().st_size == 10 * 1024 * MB
            assert (path / "sparse").stat().st_blocks * 512 < MB
            await layer.drop()


async def test_what_the_guess_lacks_it_grows_by(
    tmp_path: Path, host: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer_module, "BEGINNING_BYTES", 0)
    much(files, 13)
    async with saving(work_directory(tmp_path)) as saver:
        saved = await saved_of(saver, files)
        layer = restored_layer(host)
        guess = msgspec.structs.replace(saved, file_bytes=0, entries=0)
        path = await layer.make(saver, guess, over=[])
        assert seen(path) == seen(files)
        assert (host / "restored" / IMAGE_NAME).stat().st_size > layer_module.SIZE_BYTES_MIN
    await layer.drop()


async def test_what_the_sessions_volume_was_promised_is_not_taken(
    tmp_path: Path, host: Path, files: Path
) -> None:
    async with saving(work_directory(tmp_path)) as saver:
        saved = await saved_of(saver, files)
        with small_disk(host, size_bytes=600 * MB):
            volume = host / IMAGE_NAME
            with volume.open("wb") as file:
                file.truncate(500 * MB)
            with pytest.raises(NoRoomError, match=r"0\.0977 GB of that disk"):
                await restored_layer(host).make(saver, saved, over=[])
            volume.unlink()
            layer = restored_layer(host)
            await layer.make(saver, saved, over=[])
            await layer.drop()
