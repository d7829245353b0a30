"""The bytes of entries.

    key length u16 │ key │ 44 bytes of fixed fields │ attributes │ content

The same entry has the same bytes, always. Decoding is strict. It only moves forward, and compares
where it arrives with where the entry ends: that finds a wrong length inside without asking at every
step, unless the node has ended before.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from checkpoints.format.damage import DamagedError
from checkpoints.tree import keys
from checkpoints.tree.entry import (
    ATTRIBUTE_BYTES_MAX,
    ATTRIBUTE_NAME_BYTES_MAX,
    ATTRIBUTES_BYTES_MAX,
    ATTRIBUTES_MAX,
    DEVICE_MAJOR_MAX,
    DEVICE_MINOR_MAX,
    ENTRY_BYTES_MAX,
    INLINE_BYTES_MAX,
    MODE_MAX,
    TARGET_BYTES_MAX,
    Content,
    Device,
    Entry,
    Extents,
    IndirectExtents,
    Inline,
    Kind,
    RefusedError,
    Target,
    is_attribute_name,
    is_deletion,
)
from checkpoints.tree.extents import (
    decode_extents,
    decode_references,
    encode_extents,
    encode_references,
)

if TYPE_CHECKING:
    from checkpoints.tree.keys import Key

SECOND_NS = 1_000_000_000
OPAQUE, ATTRIBUTES, SEVERAL_NAMES, INLINE, INDIRECT = 1, 2, 4, 8, 16
_FLAGS_OF_ALL = ATTRIBUTES | SEVERAL_NAMES
_KINDS = (None, *Kind)
_FLAGS = tuple(  # by kind, as the one above
    {
        None: 0,
        Kind.FILE: _FLAGS_OF_ALL | INLINE | INDIRECT,
        Kind.FOLDER: OPAQUE | ATTRIBUTES,
        Kind.DELETION: 0,
    }.get(kind, _FLAGS_OF_ALL)
    for kind in _KINDS
)

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_SIZE = struct.Struct("<Q")
_FIXED = struct.Struct("<BBHIIqIqIQ")
FIXED_BYTES = _FIXED.size
SIZE_BYTES = _SIZE.size
_DEVICE = struct.Struct("<II")


def encode(key: Key, entry: Entry) -> bytes:
    """Return key and entry as they lie in a leaf, or raise RefusedError.

    A list of extents that is too long has to be moved out before: see `extents`.
    """
    attributes = entry.attributes
    flags, content = _encode_content(entry.kind, entry.content)
    if attributes:
        flags |= ATTRIBUTES
        content = _encode_attributes(key, attributes) + content
    if entry.opaque:
        flags |= OPAQUE
    if entry.several_names:
        flags |= SEVERAL_NAMES
    assert not flags & ~_FLAGS[entry.kind], "flags that this kind can't have"
    assert entry.mode <= MODE_MAX
    assert entry.kind is not Kind.DELETION or is_deletion(entry), "a deletion has no properties"
    fixed = _FIXED.pack(
        entry.kind,
        flags,
        entry.mode,
        entry.user,
        entry.group,
        *divmod(entry.modified_ns, SECOND_NS),
        *divmod(entry.changed_ns, SECOND_NS),
        entry.inode,
    )
    item = _U16.pack(len(key)) + key + fixed + content
    if len(item) > ENTRY_BYTES_MAX:
        raise RefusedError(f"{keys.path_of(key)!r} would take {len(item)} bytes in the tree")
    return item


def _encode_content(kind: Kind, content: Content) -> tuple[int, bytes]:
    """Return flags and bytes."""
    match kind, content:
        case Kind.FILE, Extents():
            assert sum(extent.length_bytes for extent in content.extents) == content.size_bytes
            return 0, _SIZE.pack(content.size_bytes) + encode_extents(content.extents)
        case Kind.FILE, Inline(data=data):
            assert len(data) <= INLINE_BYTES_MAX
            return INLINE, _SIZE.pack(len(data)) + data
        case Kind.FILE, IndirectExtents():
            references = encode_references(content.references)
            return INDIRECT, _SIZE.pack(content.size_bytes) + references
        case Kind.SYMBOLIC_LINK, Target(path=path):
            assert 0 < len(path) <= TARGET_BYTES_MAX
            assert b"\0" not in path
            return 0, _U16.pack(len(path)) + path
        case ((Kind.CHARACTER_DEVICE | Kind.BLOCK_DEVICE), Device()):
            return 0, _DEVICE.pack(content.major, content.minor)
        case ((Kind.FOLDER | Kind.FIFO | Kind.SOCKET | Kind.DELETION), None):
            return 0, b""
        case _:
            raise AssertionError(f"{kind!r} can't have {content!r}")


def _encode_attributes(key: Key, attributes: tuple[tuple[bytes, bytes], ...]) -> bytes:
    if len(attributes) > ATTRIBUTES_MAX:
        raise RefusedError(f"{keys.path_of(key)!r} has {len(attributes)} attributes")
    parts = [_U16.pack(len(attributes))]
    previous = b""
    for name, value in attributes:
        assert previous < name, "attributes ascend by name"
        assert is_attribute_name(name), "overlay's own are left out before"
        if len(name) > ATTRIBUTE_NAME_BYTES_MAX or len(value) > ATTRIBUTE_BYTES_MAX:
            raise RefusedError(f"{keys.path_of(key)!r} has a too large attribute {name!r}")
        parts += (bytes((len(name),)), name, _U32.pack(len(value)), value)
        previous = name
    if sum(len(name) + len(value) for name, value in attributes) > ATTRIBUTES_BYTES_MAX:
        raise RefusedError(f"{keys.path_of(key)!r} has too many bytes of attributes")
    return b"".join(parts)


def decode(data: bytes, at: int, end: int) -> Entry:
    """Return the entry whose bytes after the key are at `at` and end at `end`, or DamagedError."""
    if end - at > ENTRY_BYTES_MAX:
        raise DamagedError("an entry is too long")
    try:
        entry, after = _decode(data, at)
    except (struct.error, IndexError):
        raise DamagedError("an entry is longer than what holds it") from None
    if after != end:
        raise DamagedError("an entry has another length than its parts")
    return entry


def _decode(data: bytes, at: int) -> tuple[Entry, int]:
    fixed = _FIXED.unpack_from(data, at)
    number, flags, mode, user, group, seconds, nanoseconds = fixed[:7]
    changed_seconds, changed_nanoseconds, inode = fixed[7:]
    kind = _KINDS[number] if number < len(_KINDS) else None
    if kind is None or flags & ~_FLAGS[number]:
        raise DamagedError(f"an entry has kind {number} and flags {flags}")
    if mode > MODE_MAX or nanoseconds >= SECOND_NS or changed_nanoseconds >= SECOND_NS:
        raise DamagedError("an entry has an impossible mode or time")
    at += _FIXED.size
    attributes: tuple[tuple[bytes, bytes], ...] = ()
    if flags & ATTRIBUTES:
        attributes, at = _decode_attributes(data, at)
    content: Content = None
    if kind is Kind.FILE:
        content, at = _decode_file(data, at, flags)
    elif kind is Kind.SYMBOLIC_LINK:
        content, at = _decode_target(data, at)
    elif kind is Kind.CHARACTER_DEVICE or kind is Kind.BLOCK_DEVICE:
        major, minor = _DEVICE.unpack_from(data, at)
        if major > DEVICE_MAJOR_MAX or minor > DEVICE_MINOR_MAX:
            raise DamagedError(f"an entry is device {major}:{minor}, which can't be")
        content = Device(major=major, minor=minor)
        at += _DEVICE.size
    entry = Entry(
        kind=kind,
        mode=mode,
        user=user,
        group=group,
        modified_ns=seconds * SECOND_NS + nanoseconds,
        changed_ns=changed_seconds * SECOND_NS + changed_nanoseconds,
        inode=inode,
        opaque=flags & OPAQUE != 0,
        several_names=flags & SEVERAL_NAMES != 0,
        attributes=attributes,
        content=content,
    )
    if kind is Kind.DELETION and not is_deletion(entry):
        raise DamagedError("a deletion has properties")
    return entry, at


def _decode_file(data: bytes, at: int, flags: int) -> tuple[Content, int]:
    (size,) = _SIZE.unpack_from(data, at)
    at += _SIZE.size
    if not flags & (INLINE | INDIRECT):
        extents, at = decode_extents(data, at, size)
        return Extents(size_bytes=size, extents=extents), at
    if flags & INDIRECT:
        if flags & INLINE:
            raise DamagedError("a file has its content in two places")
        references, at = decode_references(data, at)
        return IndirectExtents(size_bytes=size, references=references), at
    if size > INLINE_BYTES_MAX:
        raise DamagedError(f"a file has {size} bytes in its entry")
    return Inline(data=data[at : at + size]), at + size


def _decode_target(data: bytes, at: int) -> tuple[Target, int]:
    (length,) = _U16.unpack_from(data, at)
    path = data[at + 2 : at + 2 + length]
    if not 0 < length <= TARGET_BYTES_MAX or b"\0" in path:
        raise DamagedError("a symbolic link has no valid target")
    return Target(path=path), at + 2 + length


def _decode_attributes(data: bytes, at: int) -> tuple[tuple[tuple[bytes, bytes], ...], int]:
    (count,) = _U16.unpack_from(data, at)
    at += 2
    attributes = []
    previous = b""
    total = 0
    for _ in range(count):
        name = data[at + 1 : at + 1 + data[at]]
        at += 1 + data[at]
        (length,) = _U32.unpack_from(data, at)
        value = data[at + 4 : at + 4 + length]
        at += 4 + length
        total += len(name) + length
        if name <= previous or length > ATTRIBUTE_BYTES_MAX:
            raise DamagedError("an entry's attributes don't ascend, or are too large")
        if not is_attribute_name(name):
            raise DamagedError(f"an entry has the attribute {name!r}, which none can have")
        attributes.append((name, value))
        previous = name
    if not count or total > ATTRIBUTES_BYTES_MAX:
        raise DamagedError("an entry has no attributes, or too large ones")
    return tuple(attributes), at


def file_bytes_at(data: bytes, at: int) -> int:
    """Return the size of the file whose bytes after the key are at `at`; 0 if it is none.

    For sums over many entries: nothing else is looked at.
    """
    try:
        if data[at] != Kind.FILE:
            return 0
        flags = data[at + 1]
        at += _FIXED.size
        if flags & ATTRIBUTES:
            _, at = _decode_attributes(data, at)
        size: int = _SIZE.unpack_from(data, at)[0]
    except (struct.error, IndexError):
        raise DamagedError("an entry is longer than what holds it") from None
    return size
