"""Chunks come back as they were, or not at all."""

from __future__ import annotations

import os

import pytest
import zstandard
from hypothesis import given, strategies as st

from checkpoints.format.codec import (
    CHUNK_BYTES_MAX,
    SAMPLE_BYTES,
    Codec,
    decode,
    decode_in_place,
    encode,
)
from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import ChunkId, chunk_id


@given(st.binary(max_size=5000), st.integers(1, 5))
def test_every_content_comes_back(raw: bytes, level: int) -> None:
    how, stored = encode(raw, level=level)
    assert decode(stored, how, raw_bytes=len(raw), expected=chunk_id(raw)) == raw


def test_what_compresses_is_compressed_and_what_does_not_costs_nothing_more() -> None:
    text, noise = b"the same line again\n" * 50_000, os.urandom(1_000_000)
    how, stored = encode(text)
    assert how is Codec.ZSTD
    assert len(stored) < len(text) / 50
    assert encode(noise) == (Codec.RAW, noise)


def test_what_is_stored_raw_is_checked_where_it_is() -> None:
    pack = os.urandom(1000)
    stored = memoryview(pack)[100:200]
    found = decode_in_place(stored, Codec.RAW, raw_bytes=100, expected=chunk_id(stored))
    assert isinstance(found, memoryview)
    assert found.obj is pack
    with pytest.raises(DamagedError, match="other content"):
        decode_in_place(stored, Codec.RAW, raw_bytes=100, expected=ChunkId(bytes(32)))


def test_the_middle_decides_for_a_large_chunk() -> None:
    """A video has a header that compresses well."""
    half = (1_000_000 - SAMPLE_BYTES) // 2
    assert encode(b"h" * half + os.urandom(SAMPLE_BYTES) + b"t" * half)[0] is Codec.RAW


def test_what_shrinks_little_is_left_to_who_has_more_time() -> None:
    """Numbers around 0: of four bytes the first is much alike, and nothing else."""
    numbers = bytearray(os.urandom(1_000_000))
    numbers[3::4] = numbers[3::4].translate(bytes(b"\xbb\x3b\x3c\xbc"[n % 4] for n in range(256)))
    assert encode(bytes(numbers)) == (Codec.RAW, bytes(numbers))
    how, stored = encode(bytes(numbers), level=3)
    assert how is Codec.ZSTD
    assert 0.8 < len(stored) / len(numbers) < 0.95


@given(st.binary(min_size=1, max_size=2000), st.data())
def test_a_flipped_bit_never_gives_other_content(raw: bytes, choose: st.DataObject) -> None:
    how, stored = encode(raw)
    flipped = bytearray(stored)
    flipped[choose.draw(st.integers(0, len(stored) - 1))] ^= 1 << choose.draw(st.integers(0, 7))
    try:
        found = decode(bytes(flipped), how, raw_bytes=len(raw), expected=chunk_id(raw))
    except DamagedError:
        return
    assert found == raw  # a bit of the frame's header that says nothing


def test_no_flipped_bit_of_a_frame_gives_other_content_or_asks_for_more_memory() -> None:
    """A bit of the header can make it claim any length, for which room would be made first."""
    raw = b"hello, " * 500
    how, stored = encode(raw)
    assert how is Codec.ZSTD
    for bit in range(8 * len(stored)):
        flipped = bytearray(stored)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            found = decode(bytes(flipped), how, raw_bytes=len(raw), expected=chunk_id(raw))
        except DamagedError:
            continue
        assert found == raw


def test_a_frame_that_doesnt_say_its_length_is_as_good() -> None:
    raw = b"hello, " * 500
    compressor = zstandard.ZstdCompressor(write_content_size=False)
    stored = compressor.compress(raw)
    assert decode(stored, Codec.ZSTD, raw_bytes=len(raw), expected=chunk_id(raw)) == raw
    with pytest.raises(DamagedError, match="decompressed"):
        decode(stored, Codec.ZSTD, raw_bytes=len(raw) - 1, expected=chunk_id(raw))


@pytest.mark.parametrize("codec", [2, 255])
def test_an_unknown_codec_is_damage(codec: int) -> None:
    with pytest.raises(DamagedError, match="unknown codec"):
        decode(b"x", codec, raw_bytes=1, expected=chunk_id(b"x"))


def test_a_frame_that_would_fill_the_memory_is_damage() -> None:
    _, bomb = encode(bytes(CHUNK_BYTES_MAX))
    with pytest.raises(DamagedError):
        decode(bomb, Codec.ZSTD, raw_bytes=10, expected=ChunkId(bytes(32)))
    with pytest.raises(DamagedError, match="claims"):
        decode(bomb, Codec.ZSTD, raw_bytes=1 << 31, expected=ChunkId(bytes(32)))
