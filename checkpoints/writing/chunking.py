"""Cuts a file's content into chunks.

A file, or a stretch of data between holes, of up to `small_file_bytes_max` is one chunk. A longer
one is cut by FastCDC where its content says so, so that what was inserted changes the chunks around
it and no others. pyfastcdc does 2.5 GB/s a core here and lets other threads run; fastcdc does
1.3 GB/s and does not.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyfastcdc import FastCDC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checkpoints.format.parameters import Parameters

Read = Callable[[int, int], bytes]
"""Returns what a file has from an offset on, so many bytes; fewer only at its end."""

_WINDOW_FACTOR = 2
"""A window has this many times the longest chunk. Its last chunk is read once more, as it may go on
behind it: the kernel copies without Python's lock, nothing else does."""


def stretches(fd: int, size_bytes: int, stored_blocks: int) -> Iterator[tuple[int, int, bool]]:
    """Yield offset, length and whether there is data, of all stretches of a file, in order.

    The blocks are those of `stat`: a file that has as many as its size needs isn't asked for holes.
    """
    if stored_blocks * 512 >= size_bytes:
        if size_bytes:
            yield 0, size_bytes, True
        return
    at = 0
    while at < size_bytes:
        try:
            data = min(os.lseek(fd, at, os.SEEK_DATA), size_bytes)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            data = size_bytes
        if data > at:
            yield at, data - at, False
        if data == size_bytes:
            return
        try:
            at = min(os.lseek(fd, data, os.SEEK_HOLE), size_bytes)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            at = size_bytes  # it has just become shorter: less is read
        yield data, at - data, True


def cut(
    read: Read, start: int, length: int, parameters: Parameters
) -> Iterator[bytes | memoryview]:
    """Yield the chunks of a stretch, each valid for as long as it is kept.

    Fewer bytes than `length` come if the file became shorter.
    """
    if length <= parameters.small_file_bytes_max:
        if data := read(start, length):
            yield data
        return
    longest = parameters.chunk_bytes_max
    at, end = start, start + length
    while at < end:
        wanted = min(end - at, _WINDOW_FACTOR * longest)
        window = memoryview(read(at, wanted))
        if len(window) < wanted:
            end = at + len(window)
        used = 0
        for chunk in _cutter(parameters).cut_buf(window) if window else ():
            if at + len(window) < end and used + chunk.length == len(window):
                break  # it might go on behind the window, so it is read again with what follows
            yield window[used : used + chunk.length]
            used += chunk.length
        at += used


def read_fully(fd: int, offset: int, length: int) -> bytes:
    """Return bytes of a file; fewer only at its end."""
    data = os.pread(fd, length, offset)
    if len(data) == length:
        return data
    pieces = [data]
    missing = length - len(data)
    while missing and pieces[-1]:
        pieces.append(os.pread(fd, missing, offset + length - missing))
        missing -= len(pieces[-1])
    return b"".join(pieces)


def _cutter(parameters: Parameters) -> FastCDC:
    """A new one each time: threads can't share one, and it costs little beside what it cuts."""
    return FastCDC(
        parameters.chunk_bytes_average,
        min_size=parameters.chunk_bytes_min,
        max_size=parameters.chunk_bytes_max,
    )
