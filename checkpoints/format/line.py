"""A line that says itself whether it is whole: what is in JSON here, but for `format.json`.

The line, a newline, its BLAKE3 hash in hexadecimal, a newline.
"""

from __future__ import annotations

from blake3 import blake3

from checkpoints.format.damage import DamagedError


def hashed(line: bytes) -> bytes:
    """Return an object's bytes."""
    return b"%b\n%b\n" % (line, blake3(line).hexdigest().encode())


def line_in(data: bytes, what: str) -> bytes:
    """Return the line of an object that is called `what`, or raise DamagedError."""
    line, newline, rest = data.partition(b"\n")
    if not newline or rest != blake3(line).hexdigest().encode() + b"\n":
        raise DamagedError(f"the {what} has other content, or was cut off")
    return line
