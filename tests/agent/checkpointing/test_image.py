"""An image's word changes when its distribution or its packages do, and not otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.checkpointing.image import PACKAGES, RELEASE, image_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path, RELEASE, 'NAME="Ubuntu"\nID=ubuntu\nVERSION_ID="24.04"\n')
    put(tmp_path, PACKAGES[0], "Package: libc6\nVersion: 2.39\n")
    return tmp_path


def put(root: Path, path: Path, text: str) -> None:
    below = root / path.relative_to("/")
    below.parent.mkdir(parents=True, exist_ok=True)
    below.write_text(text)


def test_it_names_kind_and_distribution(root: Path) -> None:
    kind, release, digest = image_of("host", root).split(":")
    assert (kind, release, len(digest)) == ("host", "ubuntu-24.04", 12)
    assert image_of("container", root) == f"container:{release}:{digest}"


@pytest.mark.parametrize("packages", PACKAGES)
def test_other_packages_are_another_image(root: Path, packages: Path) -> None:
    before = image_of("host", root)
    assert image_of("host", root) == before
    put(root, packages, "Package: libc6\nVersion: 2.40\n")
    assert image_of("host", root) != before


def test_other_files_are_the_same_image(root: Path) -> None:
    before = image_of("host", root)
    (root / "etc/hostname").write_text("another")
    assert image_of("host", root) == before


@pytest.mark.parametrize("release", [None, "", "rubbish", "ID=\nVERSION_ID=\n"])
def test_one_that_does_not_say_what_it_is_has_a_word_all_the_same(
    root: Path, release: str | None
) -> None:
    if release is None:
        (root / "etc/os-release").unlink()
    else:
        put(root, RELEASE, release)
    assert image_of("host", root).startswith("host:linux:")


def test_this_machine_has_one() -> None:
    assert image_of("host").startswith("host:")
