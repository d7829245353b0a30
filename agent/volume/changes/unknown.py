"""What changed can't be told from btrfs's trees: compare all metadata instead."""

from __future__ import annotations

from agent.volume.volume import VolumeError


class ChangesUnknownError(VolumeError):
    """The list would be wrong, too long, or can't be made. A scan finds what changed."""

    retry_helps = False


class InnerSubvolumeError(ChangesUnknownError):
    """There is a subvolume inside the volume. No scan sees into it either.

    A snapshot has an empty folder in its place: its files are in no checkpoint. A session can't
    make one (overlay passes no ioctl on), so somebody did it from outside.
    """
