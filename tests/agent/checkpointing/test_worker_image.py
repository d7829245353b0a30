"""What the layers below show, asked name by name, is what an overlay of them shows."""

from __future__ import annotations

import os
import random
import stat
from typing import TYPE_CHECKING

import pytest

from agent.checkpointing.worker.image import Image
from tests.support.checkpoint_rig import seen
from tests.support.growing_folder import GrowingFolder, GrowingVolume
from tests.support.session_layers import overlay

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("seed", range(6))
def test_it_has_what_an_overlay_of_its_layers_shows(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    layers = [tmp_path / name for name in ("top", "middle", "bottom")]
    for layer in layers:
        layer.mkdir()
    bottom = GrowingFolder(layers[2], rng)
    for _ in range(60):
        bottom.change()
    for layer, below in ((layers[1], layers[2]), (layers[0], layers[1])):
        volume = GrowingVolume(layer, rng, below)
        for _ in range(60):
            volume.change()
    (root := tmp_path / "root").mkdir()
    image = Image([str(layer) for layer in layers])
    asked = {path for layer in layers for path in seen(layer)} - {b""}
    asked |= {path + b"/below" for path in asked}
    with overlay(root, layers):
        shown = {path for path in asked if _is_shown(os.fsencode(root), path)}
    assert {path for path in sorted(asked) if image.has(path)} == shown
    assert shown
    assert asked - shown


def _is_shown(root: bytes, path: bytes) -> bool:
    """Ask name by name: nothing on the way may be a link."""
    *above, _ = path.split(b"/")
    for number in range(len(above)):
        status = _status(root + b"/" + b"/".join(above[: number + 1]))
        if status is None or not stat.S_ISDIR(status.st_mode):
            return False
    status = _status(root + b"/" + path)
    return status is not None and not (stat.S_ISCHR(status.st_mode) and status.st_rdev == 0)


def _status(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def test_of_a_path_too_long_to_be_asked_for_it_is_assumed(tmp_path: Path) -> None:
    names = [b"%03d" % number + b"x" * 200 for number in range(19)]
    fd = os.open(tmp_path, os.O_RDONLY)
    for name in names:
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    image = Image([str(tmp_path)])
    assert image.has(b"/".join(names[:5]))
    assert not image.has(b"/".join([*names[:5], b"x"]))
    assert image.has(b"/".join([*names, b"y" * 255]))
    assert image.has(b"/".join([*names, b"y" * 255, b"z"]))


def test_without_layers_nothing_is_there() -> None:
    assert not Image([]).has(b"a")
