"""What is raised when bytes are not what they should be."""

from __future__ import annotations


class DamagedError(Exception):
    """An object, or a part of one, is not what was written. The text says what is wrong with it.

    Whoever reads the object adds its name.
    """
