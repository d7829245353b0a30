"""Where a file is cut follows from its content, however it is read."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

import pytest
from pyfastcdc import FastCDC

from checkpoints.format.parameters import Parameters
from checkpoints.writing.chunking import cut, read_fully

if TYPE_CHECKING:
    from pathlib import Path

PARAMETERS = Parameters()
LONGEST = PARAMETERS.chunk_bytes_max


def noise(length: int) -> bytes:
    return random.Random(length).randbytes(length)


@pytest.mark.parametrize(
    "content",
    [
        noise(2 * LONGEST),  # just a window
        noise(2 * LONGEST + 1),
        noise(7 * LONGEST + 12_345),
        bytes(5 * LONGEST + 7),  # all chunks are as long as they may be
        bytes(3 * LONGEST) + noise(3 * LONGEST + 1),
        noise(LONGEST) * 4,
    ],
    ids=["a window", "and a byte", "windows", "zeros", "zeros and noise", "repeated"],
)
def test_a_file_that_is_read_in_windows_is_cut_as_one_in_memory(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with file.open("rb") as opened:
        read = partial(read_fully, opened.fileno())
        pieces = [bytes(piece) for piece in cut(read, 0, len(content), PARAMETERS)]
    whole = FastCDC(
        PARAMETERS.chunk_bytes_average,
        min_size=PARAMETERS.chunk_bytes_min,
        max_size=LONGEST,
    )
    assert [len(piece) for piece in pieces] == [each.length for each in whole.cut_buf(content)]
    assert b"".join(pieces) == content
