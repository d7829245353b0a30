"""The frame tap: says that a data frame began, and nothing else, however the stream is cut."""

from __future__ import annotations

import os
from itertools import pairwise

from hypothesis import given, settings, strategies as st

from common.http1.websocket import FrameTap

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA


def frame(opcode: int, payload: bytes, *, masked: bool = True, final: bool = True) -> bytes:
    first = bytes([(0x80 if final else 0) | opcode])
    mask = 0x80 if masked else 0
    size = len(payload)
    if size < 126:
        length = bytes([mask | size])
    elif size < 65536:
        length = bytes([mask | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([mask | 127]) + size.to_bytes(8, "big")
    return first + length + (os.urandom(4) if masked else b"") + payload


def data_frames(stream: bytes, cuts: list[int]) -> int:
    """Count the calls that saw a data frame begin when each frame is cut at most once."""
    tap = FrameTap()
    edges = [0, *sorted(cuts), len(stream)]
    return sum(tap.scan(stream[a:b]) for a, b in pairwise(edges))


def test_data_frames_are_seen_and_control_frames_are_not() -> None:
    for opcode, is_data in [
        (TEXT, True),
        (BINARY, True),
        (CONTINUATION, True),
        (PING, False),
        (PONG, False),
        (CLOSE, False),
    ]:
        for masked in (True, False):
            assert FrameTap().scan(frame(opcode, b"x" * 5, masked=masked)) is is_data
            assert FrameTap().scan(frame(opcode, b"", masked=masked)) is is_data


def test_a_frame_is_seen_once_at_every_split() -> None:
    for size in (0, 1, 125, 126, 300):
        stream = frame(TEXT, b"\x81" * size)
        for cut in range(len(stream) + 1):
            assert data_frames(stream, [cut]) == 1, (size, cut)
        assert data_frames(stream, list(range(len(stream)))) == 1


def test_payloads_of_all_length_forms_are_skipped_exactly() -> None:
    for size in (125, 126, 65535, 65536, 70000):
        tap = FrameTap()
        assert tap.scan(frame(BINARY, b"\x81\x01a" * (size // 3) + b"z" * (size % 3)))
        assert not tap.scan(frame(PING, b"still in place"))
        assert tap.scan(frame(TEXT, b"still in place"))


frames = st.lists(
    st.tuples(
        st.sampled_from([TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG]),
        st.integers(0, 200),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@given(frames, st.data())
@settings(deadline=None)
def test_byte_by_byte_every_data_frame_counts_once(
    kinds: list[tuple[int, int, bool]], data: st.DataObject
) -> None:
    stream = b"".join(
        frame(opcode, b"\x81" * min(size, 125 if opcode >= 8 else size), masked=masked)
        for opcode, size, masked in kinds
    )
    expected = sum(opcode < 8 for opcode, _, _ in kinds)
    assert data_frames(stream, list(range(len(stream)))) == expected
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=4))
    assert bool(data_frames(stream, cuts)) is bool(expected)
