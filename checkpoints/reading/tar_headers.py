r"""Headers of tar archives: ustar, with PAX records for what has no room or no field there. Pure.

    record:  length " " keyword "=" value "\n", the length being that of the whole record

Python's own module can't write attributes whose values aren't text without a record that other
programs don't know, and rounds times to what a float holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCK_BYTES = 512
END = bytes(2 * BLOCK_BYTES)
FILE, LINK, SYMBOLIC_LINK, CHARACTER, BLOCK, FOLDER, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_PAX = b"x"
_PAX_NAME = b"PaxHeaders/attributes"
_SECOND_NS = 1_000_000_000
_NAME_BYTES = 100
_ID_MAX = 0o7777777
_SIZE_MAX = 0o77777777777
ATTRIBUTE = b"SCHILY.xattr."
"""What star, GNU tar and all that unpack images call extended attributes."""


class Header(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an archive says about one name."""

    name: bytes
    """Of a folder, with a slash at the end."""
    type: bytes
    mode: int = 0
    user: int = 0
    group: int = 0
    modified_ns: int = 0
    size_bytes: int = 0
    target: bytes = b""
    major: int = 0
    minor: int = 0
    attributes: tuple[tuple[bytes, bytes], ...] = ()


def encode(header: Header) -> bytes:
    """Return the blocks of a header; content follows, then `padding`."""
    records = _records(header)
    extra = b""
    if records:
        body = b"".join(_record(keyword, value) for keyword, value in records)
        extra = _block(Header(name=_PAX_NAME, type=_PAX, mode=0o644, size_bytes=len(body)))
        extra += body + padding(len(body))
    return extra + _block(header)


def padding(size_bytes: int) -> bytes:
    """Return what follows content of so many bytes."""
    return bytes(-size_bytes % BLOCK_BYTES)


def _records(header: Header) -> Sequence[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    if len(header.name) > _NAME_BYTES or not header.name.isascii():
        found.append((b"path", header.name))
    if len(header.target) > _NAME_BYTES or not header.target.isascii():
        found.append((b"linkpath", header.target))
    if header.size_bytes > _SIZE_MAX:
        found.append((b"size", b"%d" % header.size_bytes))
    if header.user > _ID_MAX:
        found.append((b"uid", b"%d" % header.user))
    if header.group > _ID_MAX:
        found.append((b"gid", b"%d" % header.group))
    if header.modified_ns % _SECOND_NS or not 0 <= header.modified_ns // _SECOND_NS <= _SIZE_MAX:
        found.append((b"mtime", _time(header.modified_ns)))
    found += ((ATTRIBUTE + name, value) for name, value in header.attributes)
    return found


def _time(time_ns: int) -> bytes:
    """Return seconds as a decimal fraction: -0.5 is half a second before 1970."""
    seconds, nanoseconds = divmod(abs(time_ns), _SECOND_NS)
    sign = b"-" if time_ns < 0 else b""
    return (b"%b%d.%09d" % (sign, seconds, nanoseconds)).rstrip(b"0").rstrip(b".")


def parse_time(text: str) -> int:
    """Return a record's time in nanoseconds, exactly. Raises ValueError."""
    whole, _, fraction = text.removeprefix("-").partition(".")
    time_ns = int(whole or "0") * _SECOND_NS + int((fraction + "0" * 9)[:9])
    return -time_ns if text.startswith("-") else time_ns


def _record(keyword: bytes, value: bytes) -> bytes:
    rest = b" %b=%b\n" % (keyword, value)
    length = len(rest)
    while length != len(rest) + len(str(length)):
        length = len(rest) + len(str(length))
    return b"%d%b" % (length, rest)


def _block(header: Header) -> bytes:
    seconds = header.modified_ns // _SECOND_NS
    block = bytearray(BLOCK_BYTES)
    block[0:100] = header.name[:_NAME_BYTES].ljust(100, b"\0")
    block[100:108] = b"%07o\0" % header.mode
    block[108:116] = b"%07o\0" % (header.user if header.user <= _ID_MAX else 0)
    block[116:124] = b"%07o\0" % (header.group if header.group <= _ID_MAX else 0)
    block[124:136] = b"%011o\0" % (header.size_bytes if header.size_bytes <= _SIZE_MAX else 0)
    block[136:148] = b"%011o\0" % (seconds if 0 <= seconds <= _SIZE_MAX else 0)
    block[148:156] = b" " * 8
    block[156:157] = header.type
    block[157:257] = header.target[:_NAME_BYTES].ljust(100, b"\0")
    block[257:265] = b"ustar\x0000"
    block[329:337] = b"%07o\0" % header.major
    block[337:345] = b"%07o\0" % header.minor
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)
