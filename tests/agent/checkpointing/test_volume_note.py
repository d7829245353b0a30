"""A volume's note says whose its files are: it is whole or not there, and goes after the image."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agent.checkpointing.volume_note import (
    NAME,
    NoteUnreadableError,
    VolumeNote,
    put_aside,
    read_note,
    remove_image,
    remove_volume,
    write_note,
)

if TYPE_CHECKING:
    from pathlib import Path

NOTE = VolumeNote(
    checkpoint_id="00000000000000c1", run_number=3, image="image", parent_id=None, base_root=""
)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "volume.img"
    path.write_text("files")
    return path


def test_what_is_written_is_read_and_replaced(tmp_path: Path) -> None:
    assert read_note(tmp_path) is None
    later = VolumeNote(
        checkpoint_id="00000000000000c2",
        run_number=4,
        image="",
        parent_id="00000000000000c1",
        base_root="ab" * 32,
    )
    for note in (NOTE, later):
        write_note(tmp_path, note)
        assert read_note(tmp_path) == note
    assert os.listdir(tmp_path) == [NAME]


def test_a_kill_while_it_is_written_leaves_the_one_before(tmp_path: Path) -> None:
    write_note(tmp_path, NOTE)
    (tmp_path / f"{NAME}.new").write_bytes(b'{"checkpo')
    assert read_note(tmp_path) == NOTE
    write_note(tmp_path, NOTE)
    assert os.listdir(tmp_path) == [NAME]


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"checkpointId": 1}'])
def test_one_that_can_not_be_understood_is_never_taken_for_none(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(NoteUnreadableError, match=NAME):
        read_note(tmp_path)


def test_an_image_goes_alone_or_with_its_note_again_and_again(tmp_path: Path, image: Path) -> None:
    write_note(tmp_path, NOTE)
    for _ in range(2):
        remove_image(tmp_path, image)
        assert os.listdir(tmp_path) == [NAME]
    for _ in range(2):
        remove_volume(tmp_path, image)
        assert os.listdir(tmp_path) == []


def test_what_is_put_aside_overwrites_nothing(tmp_path: Path, image: Path) -> None:
    asides = []
    for content in ("1", "2", "3"):
        write_note(tmp_path, NOTE)
        image.write_text(content)
        asides.append(put_aside(tmp_path, image, 3))
        assert read_note(tmp_path) is None
        assert not image.exists()
    assert [aside.read_text() for aside in asides] == ["1", "2", "3"]
    assert asides[0].name == "kept-3-volume.img"
