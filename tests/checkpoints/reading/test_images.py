"""The kernel's overlay of an image and what was restored is what others make of image and layer."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, given, settings

from checkpoints.format.ids import CheckpointId
from checkpoints.reading.export import export_layer
from checkpoints.reading.restore import restore
from checkpoints.writing.writer import Writer
from tests.support.checkpoint_rig import repository as new_repository
from tests.support.folder_facts import look
from tests.support.real_folders import folders, make

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.real_folders import Thing


@settings(
    max_examples=12,
    deadline=None,
    phases=(
        Phase.explicit,
        Phase.reuse,
        Phase.generate,
    ),  # to shrink takes long
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(below=folders, changed=folders)
def test_umoci_makes_of_any_layer_what_the_session_saw(
    memory_folder: Path, below: list[Thing], changed: list[Thing]
) -> None:
    image, volume, upper = (memory_folder / name for name in ("image", "volume", "upper"))
    try:
        for folder in (image, volume, memory_folder / "merged", memory_folder / "work"):
            folder.mkdir()
        make(image, [_of_an_image(thing) for thing in below if thing.kind not in SPECIAL])
        make(volume, [_told_by_layers(thing) for thing in changed if thing.kind != "socket"])
        _drop_what_deletes_nothing(volume, image)
        asyncio.run(_store(volume, upper, memory_folder / "layer.tar.zst"))
        unpacked, seen = _unpacked(memory_folder), _seen(memory_folder)
        assert unpacked.keys() == seen.keys()
        for path, fact in seen.items():
            assert (path, unpacked[path]) == (path, fact)
    finally:
        for each in memory_folder.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()


SPECIAL = {"socket", "deletion", "other name"}
"""What images don't have; and GNU tar, which makes the image's layer, keeps names of files only."""


def _of_an_image(thing: Thing) -> Thing:
    """GNU tar, which makes the image's layer, is given no attributes to keep."""
    return replace(thing, attributes=frozenset())


def _told_by_layers(thing: Thing) -> Thing:
    """A layer has no attributes without a value; of files, that is the second one."""
    return replace(thing, attributes=thing.attributes - {1}) if thing.kind == "file" else thing


def _drop_what_deletes_nothing(volume: Path, image: Path) -> None:
    """The kernel makes no such deletions, and lists the names of those that it finds."""
    for path, fact in look(volume).items():
        where = os.fsencode(volume) + b"/" + path
        if (fact.device == (0, 0) and not os.path.lexists(os.fsencode(image) + b"/" + path)) or (
            fact.device == (0, 0) and _is_hidden(volume, path)
        ):
            os.unlink(where)


def _is_hidden(volume: Path, path: bytes) -> bool:
    """Say whether a folder above a path is opaque."""
    where = os.fsencode(volume)
    for name in [b"", *path.split(b"/")[:-1]]:
        where = os.path.join(where, name)
        if "trusted.overlay.opaque" in os.listxattr(where):
            return True
    return False


async def _store(volume: Path, upper: Path, layer: Path) -> None:
    found = await new_repository()
    writer = await Writer.open(found, CheckpointId("1" * 16), run_number=1)
    record = await writer.write(volume, final=True)
    await restore(found, record, upper)
    with layer.open("wb") as output:
        await export_layer(found, record, output)


def _seen(folder: Path) -> dict[bytes, object]:
    merged = folder / "merged"
    image, upper, work = (folder / name for name in ("image", "upper", "work"))
    options = f"lowerdir={image},upperdir={upper},workdir={work}"
    _run("mount", "-t", "overlay", "overlay", "-o", options, merged)
    try:
        return dict(look(merged))
    finally:
        _run("umount", merged)


def _unpacked(folder: Path) -> dict[bytes, object]:
    """Return what umoci makes of two layers."""
    layout = folder / "layout"
    _run("zstd", "-dq", folder / "layer.tar.zst")
    _run("tar", "--format=posix", "-cf", folder / "image.tar", "-C", folder / "image", ".")
    _run("umoci", "init", "--layout", layout)
    _run("umoci", "new", "--image", f"{layout}:it")
    for layer in ("image.tar", "layer.tar"):
        _run("umoci", "raw", "add-layer", "--image", f"{layout}:it", folder / layer)
    _run("umoci", "unpack", "--image", f"{layout}:it", folder / "bundle")
    return dict(look(folder / "bundle/rootfs"))


def _run(*arguments: str | Path) -> None:
    done = subprocess.run(arguments, capture_output=True, check=False)
    assert done.returncode == 0, (arguments, done.stderr)
