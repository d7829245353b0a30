"""Whose files are on the volume of a host's state folder: a note beside its image.

It is durable before the image is made and goes after it, so whoever finds an image knows under
which checkpoint, over what, its files are to be saved; and whoever finds only a note, under which
they were. An image without a note is of the version that had no checkpoints.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from common.wire import MalformedMessageError, decode, encode

if TYPE_CHECKING:
    from pathlib import Path

NAME = "volume.json"


class VolumeNote(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The file `volume.json`."""

    checkpoint_id: str
    run_number: int
    image: str
    """What the root was made from."""
    parent_id: str | None
    base_root: str
    """The root of the tree that was restored below the volume, hexadecimal; empty for none."""


class NoteUnreadableError(Exception):
    """There is a note, and it can't be understood. The text is a sentence without full stop."""


def read_note(folder: Path) -> VolumeNote | None:
    """Return the note of a folder; None if it has none."""
    path = folder / NAME
    try:
        return decode(path.read_bytes(), VolumeNote)
    except FileNotFoundError:
        return None
    except MalformedMessageError as error:
        raise NoteUnreadableError(f"{path} can't be understood: {error}") from None


def write_note(folder: Path, note: VolumeNote) -> None:
    """Replace the note, durably."""
    new = folder / f"{NAME}.new"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode=0o600)
    try:
        os.write(fd, encode(note))
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(new, folder / NAME)
    _sync(folder)


def remove_volume(folder: Path, image: Path) -> None:
    """Remove a volume's image that is not attached, and its note, in this order, durably.

    Harmless if either is gone already.
    """
    remove_image(folder, image)
    (folder / NAME).unlink(missing_ok=True)
    _sync(folder)


def remove_image(folder: Path, image: Path) -> None:
    """Remove a volume's image that is not attached, durably; its note stays. Idempotent."""
    image.unlink(missing_ok=True)
    _sync(folder)


def put_aside(folder: Path, image: Path, run_number: int) -> Path:
    """Give an image that can't be saved another name, where nobody takes it for the next run's."""
    aside = image.with_name(f"kept-{run_number}-{image.name}")
    number = 1
    while os.path.lexists(aside):
        number += 1
        aside = image.with_name(f"kept-{run_number}.{number}-{image.name}")
    os.rename(image, aside)
    _sync(folder)
    (folder / NAME).unlink(missing_ok=True)
    _sync(folder)
    return aside


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
