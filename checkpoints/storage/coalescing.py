"""Which ranges of an object are read together.

One request for two chunks and the gap between them is cheaper than two requests, as long as the gap
is smaller than what the line carries in the time of a request's latency. Folders don't need it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from checkpoints.storage.storage import Part, Range

GAP_BYTES_MAX = 1 << 20
"""What 100 MB/s carry in 10 ms, the latency of a near bucket; a far one would bear more."""

SPAN_BYTES_MAX = 8 << 20
"""What is read in one piece, so that gaps don't add up to memory; a longer range stays whole."""


@dataclass(frozen=True, slots=True)
class Span:
    """One read, and which ranges (by position in what was asked) are cut from it."""

    start: int
    length: int
    members: tuple[int, ...]


def plan(
    ranges: Sequence[Range],
    *,
    gap_bytes_max: int = GAP_BYTES_MAX,
    span_bytes_max: int = SPAN_BYTES_MAX,
) -> list[Span]:
    """Return the reads that cover all of `ranges`, ascending."""
    spans: list[Span] = []
    start = end = 0
    members: list[int] = []
    for number in sorted(range(len(ranges)), key=lambda i: (ranges[i].start, ranges[i].length)):
        wanted = ranges[number]
        grown = max(end, wanted.end)
        if members and wanted.start - end <= gap_bytes_max and grown - start <= span_bytes_max:
            members.append(number)
            end = grown
            continue
        if members:
            spans.append(Span(start, end - start, tuple(members)))
        start, end, members = wanted.start, wanted.end, [number]
    if members:
        spans.append(Span(start, end - start, tuple(members)))
    return spans


def cut(ranges: Sequence[Range], pieces: Iterable[tuple[Span, Part]]) -> list[memoryview]:
    """Return views of the bytes of each range, given what the spans of its plan read."""
    found: dict[int, memoryview] = {}
    for span, piece in pieces:
        assert len(piece) == span.length, span
        view = memoryview(piece)
        for number in span.members:
            offset = ranges[number].start - span.start
            found[number] = view[offset : offset + ranges[number].length]
    return [found[number] for number in range(len(ranges))]
