"""The repository's own: `format.json`."""

from __future__ import annotations

import msgspec

from checkpoints.format.damage import DamagedError

FORMAT = 1


class UnknownFormatError(Exception):
    """The repository is of another version than this program. The text is a sentence."""


class Parameters(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How files are cut. Whoever cuts them the same way finds the same chunks."""

    format: int = FORMAT
    small_file_bytes_max: int = 256 * 1024
    chunk_bytes_min: int = 256 * 1024
    chunk_bytes_average: int = 1024 * 1024
    chunk_bytes_max: int = 4 * 1024 * 1024


class _Version(msgspec.Struct, frozen=True, kw_only=True):
    format: int


def encode(parameters: Parameters) -> bytes:
    """Return the object's bytes."""
    return msgspec.json.encode(parameters) + b"\n"


def parse(data: bytes) -> Parameters:
    """Return the parameters, or raise UnknownFormatError or DamagedError."""
    try:
        version = msgspec.json.decode(data, type=_Version).format
        if version != FORMAT:
            raise UnknownFormatError(
                f"The checkpoints there have format {version}, this program knows {FORMAT}: "
                "use a newer one."
            )
        return msgspec.json.decode(data, type=Parameters)
    except msgspec.MsgspecError as error:
        raise DamagedError(f"format.json can't be understood: {error}") from None
