"""Ranges that lie together are read together; what is cut out is what was asked."""

from __future__ import annotations

from hypothesis import given, strategies as st

from checkpoints.storage.coalescing import Span, cut, plan
from checkpoints.storage.storage import Range

RANGES = st.lists(st.builds(Range, st.integers(0, 300), st.integers(1, 60)), max_size=20)


@given(RANGES, st.integers(0, 50), st.integers(1, 200))
def test_whatever_is_asked_comes_back(ranges: list[Range], gap: int, span: int) -> None:
    content = bytes(i % 251 for i in range(400))
    spans = plan(ranges, gap_bytes_max=gap, span_bytes_max=span)
    pieces = [(found, content[found.start : found.start + found.length]) for found in spans]
    assert cut(ranges, pieces) == [content[r.start : r.end] for r in ranges]


@given(RANGES, st.integers(0, 50), st.integers(1, 200))
def test_spans_ascend_and_are_bounded(ranges: list[Range], gap: int, span: int) -> None:
    spans = plan(ranges, gap_bytes_max=gap, span_bytes_max=span)
    longest = max((r.length for r in ranges), default=0)
    assert [found.start for found in spans] == sorted(found.start for found in spans)
    assert all(found.length <= max(span, longest) for found in spans)
    assert sorted(number for found in spans for number in found.members) == [*range(len(ranges))]


def test_a_gap_is_read_only_where_it_is_cheaper() -> None:
    ranges = [Range(0, 10), Range(20, 10), Range(41, 10)]
    assert plan(ranges, gap_bytes_max=10) == [Span(0, 30, (0, 1)), Span(41, 10, (2,))]
    assert plan(ranges, gap_bytes_max=11) == [Span(0, 51, (0, 1, 2))]
    assert plan(ranges, gap_bytes_max=9) == [Span(r.start, 10, (i,)) for i, r in enumerate(ranges)]
    assert plan(ranges, gap_bytes_max=11, span_bytes_max=30) == [
        Span(0, 30, (0, 1)),
        Span(41, 10, (2,)),
    ]


def test_what_is_cut_out_is_not_copied() -> None:
    content = bytes(100)
    (view,) = cut([Range(30, 5)], [(Span(20, 20, (0,)), memoryview(content)[20:40])])
    assert view.obj is content
