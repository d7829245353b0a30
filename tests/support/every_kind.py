"""A tree with every kind of name and every attribute, and what the kernel says of it, restored."""

from __future__ import annotations

import os
import random
import struct
from typing import TYPE_CHECKING

from checkpoints.format.ids import ChunkId
from checkpoints.tree.entry import (
    DELETION,
    Device,
    Entry,
    Extents,
    IndirectExtents,
    Inline,
    Kind,
    Target,
)
from tests.support.folder_facts import Facts
from tests.support.packed import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.packed import Packing

MB = 1024**2
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)  # net_raw, effective
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, rights, who)
    for tag, rights, who in (
        (0x01, 7, 0xFFFFFFFF), (0x02, 5, 4242), (0x04, 5, 0xFFFFFFFF), (0x10, 5, 0xFFFFFFFF),
        (0x20, 0, 0xFFFFFFFF),
    )
)  # fmt: skip
SECOND = 1_000_000_000


def file(content: bytes | Extents | IndirectExtents = b"", **fields: object) -> Entry:
    made = Inline(data=content) if isinstance(content, bytes) else content
    return node(Kind.FILE, content=made, **fields)


def node(kind: Kind, **fields: object) -> Entry:
    return Entry(**{"kind": kind, "mode": 0o644, "modified_ns": 12 * SECOND + 345, **fields})  # type: ignore[arg-type]


def every_kind(packing: Packing) -> dict[bytes, Entry]:
    rng = random.Random(3)
    big = [rng.randbytes(MB) for _ in range(6)]
    return {
        b"": node(Kind.FOLDER, mode=0o751, user=5, group=6),
        b"empty": file(),
        b"inline": file(b"some bytes", user=1000, group=1001, mode=0o4755),
        b"one": file(packing.file(b"x" * 1000), mode=0o400),
        b"big": file(packing.file(*big)),
        b"big again": file(packing.file(*big[::-1])),
        b"indirect": file(packing.file(big[0], 5 * MB, big[1], indirect=True)),
        b"holes": file(packing.file(3 * MB, big[2], 64 * MB, b"end")),
        b"only a hole": file(packing.file(8 * MB)),
        b"ends in a hole": file(packing.file(b"begin", MB)),
        b"setuid": file(packing.file(b"program"), mode=0o6755, user=1000, group=50),
        b"capable": file(
            packing.file(b"ping"), user=3, mode=0o755,
            attributes=((b"security.capability", CAPABILITY),),
        ),
        b"acl": file(
            packing.file(b"mine"), mode=0o750, attributes=(
                (b"system.posix_acl_access", ACL), (b"trusted.x", b"\0\xff"), (b"user.note", b"hi"),
            ),
        ),
        b"folder": node(Kind.FOLDER, mode=0o2775, group=50),
        b"folder/inside": file(b"1", mode=0o600, modified_ns=-5 * SECOND + 7),
        b"folder/deep": node(Kind.FOLDER, mode=0o1777, modified_ns=2**33 * SECOND),
        b"folder/deep/" + bytes(range(1, 47)) + bytes(range(48, 256)): file(b"odd name"),
        b"folder.old": node(Kind.FOLDER, mode=0, opaque=True),
        b"folder.old/x": file(packing.file(b"x" * 1000)),
        b"inherits": node(
            Kind.FOLDER, mode=0o755, attributes=((b"system.posix_acl_default", ACL),)
        ),
        b"inherits/not": file(packing.file(b"plain"), mode=0o640),
        b"gone": DELETION,
        b"folder/gone": DELETION,
        b"link": node(
            Kind.SYMBOLIC_LINK, mode=0o777, user=9, content=Target(path=b"/etc/passwd"),
            attributes=((b"trusted.note", b"on a link"),),
        ),
        b"dangling": node(
            Kind.SYMBOLIC_LINK, mode=0o777, content=Target(path=b"\xff/" * 60), modified_ns=1,
        ),
        b"fifo": node(Kind.FIFO, mode=0o620, user=1),
        b"socket": node(Kind.SOCKET, mode=0o755, group=2),
        b"null": node(
            Kind.CHARACTER_DEVICE, mode=0o666, content=Device(major=1, minor=3),
            attributes=((b"trusted.of", b"a device"),),
        ),
        b"disk": node(Kind.BLOCK_DEVICE, mode=0o660, content=Device(major=259, minor=70_000)),
        b"a name": file(packing.file(b"two " * 100), inode=77, several_names=True),
        b"folder/another": file(packing.file(b"two " * 100), inode=77, several_names=True),
        b"folder/small": file(b"in the tree", inode=78, several_names=True),
        b"folder/small too": file(b"in the tree", inode=78, several_names=True),
        b"fifo 1": node(Kind.FIFO, inode=79, several_names=True),
        b"fifo 2": node(Kind.FIFO, inode=79, several_names=True),
    }  # fmt: skip


def expected(packing: Packing, entries: Mapping[bytes, Entry]) -> dict[bytes, Facts]:
    """Return what entries look like, told by other means than the code under test."""
    chunks = {chunk: raw for kind in packing.chunks.values() for chunk, raw in kind.items()}

    def content(entry: Entry) -> bytes:
        match entry.content:
            case Inline(data=data):
                return data
            case Target(path=path):
                return path
            case Extents(extents=extents):
                return b"".join(
                    chunks[e.chunk_id] if e.chunk_id else bytes(e.length_bytes) for e in extents
                )
            case IndirectExtents():
                return chunks_of_indirect(entry.content, chunks)
            case _:
                return b""

    found = {}
    for path, entry in ({b"": ROOT} | dict(entries)).items():
        is_deletion = entry.kind is Kind.DELETION
        device = (0, 0) if is_deletion else None
        if isinstance(entry.content, Device):
            device = (entry.content.major, entry.content.minor)
        attributes = [(os.fsdecode(name), value) for name, value in entry.attributes]
        if entry.opaque:
            attributes.append(("trusted.overlay.opaque", b"y"))
        found[path] = Facts(
            type=("character" if is_deletion else TYPES[entry.kind]),
            mode=entry.mode,
            user=entry.user,
            group=entry.group,
            modified_ns=entry.modified_ns,
            attributes=tuple(attributes),
            content=content(entry),
            device=device,
            twins=tuple(
                other for other in sorted(entries)
                if entry.several_names and entries[other].inode == entry.inode and other != path
            ),
        )  # fmt: skip
    return found


def chunks_of_indirect(content: IndirectExtents, chunks: Mapping[ChunkId, bytes]) -> bytes:
    data = b"".join(chunks[each.chunk_id] for each in content.references if each.chunk_id)
    at, out = 4, b""
    while at < len(data):
        if data[at]:
            out += chunks[ChunkId(data[at + 1 : at + 33])]
            at += 37
        else:
            out += bytes(int.from_bytes(data[at + 1 : at + 9], "little"))
            at += 9
    return out


TYPES = {
    Kind.FILE: "file",
    Kind.FOLDER: "folder",
    Kind.SYMBOLIC_LINK: "link",
    Kind.FIFO: "fifo",
    Kind.SOCKET: "socket",
    Kind.CHARACTER_DEVICE: "character",
    Kind.BLOCK_DEVICE: "block",
}


def without_times_of_deletions(facts: dict[bytes, Facts]) -> dict[bytes, tuple[object, ...]]:
    """Nobody sees more of a deletion than that it is one."""
    return {
        path: (fact.type, fact.device) if fact.device == (0, 0) else (fact,)
        for path, fact in facts.items()
    }
