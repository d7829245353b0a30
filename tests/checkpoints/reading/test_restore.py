"""What is restored is what the tree says, on real file systems; or nothing is claimed."""

from __future__ import annotations

import os
import random
import struct
from typing import TYPE_CHECKING

import pytest

from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import ChunkId
from checkpoints.reading import restore as restore_module, spans as spans_module
from checkpoints.reading.failures import NotEmptyError, RestoreError
from checkpoints.reading.restore import Progress, restore
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
from tests.support.folder_facts import Facts, allocated_bytes, look
from tests.support.packed import ROOT, Packing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from checkpoints.repository import Repository

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
    return _entry(Kind.FILE, content=made, **fields)


def _entry(kind: Kind, **fields: object) -> Entry:
    return Entry(**{"kind": kind, "mode": 0o644, "modified_ns": 12 * SECOND + 345, **fields})  # type: ignore[arg-type]


def every_kind(packing: Packing) -> dict[bytes, Entry]:
    rng = random.Random(3)
    big = [rng.randbytes(MB) for _ in range(6)]
    return {
        b"": _entry(Kind.FOLDER, mode=0o751, user=5, group=6),
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
        b"folder": _entry(Kind.FOLDER, mode=0o2775, group=50),
        b"folder/inside": file(b"1", mode=0o600, modified_ns=-5 * SECOND + 7),
        b"folder/deep": _entry(Kind.FOLDER, mode=0o1777, modified_ns=2**33 * SECOND),
        b"folder/deep/" + bytes(range(1, 47)) + bytes(range(48, 256)): file(b"odd name"),
        b"folder.old": _entry(Kind.FOLDER, mode=0, opaque=True),
        b"folder.old/x": file(packing.file(b"x" * 1000)),
        b"inherits": _entry(
            Kind.FOLDER, mode=0o755, attributes=((b"system.posix_acl_default", ACL),)
        ),
        b"inherits/not": file(packing.file(b"plain"), mode=0o640),
        b"gone": DELETION,
        b"folder/gone": DELETION,
        b"link": _entry(
            Kind.SYMBOLIC_LINK, mode=0o777, user=9, content=Target(path=b"/etc/passwd"),
            attributes=((b"trusted.note", b"on a link"),),
        ),
        b"dangling": _entry(
            Kind.SYMBOLIC_LINK, mode=0o777, content=Target(path=b"\xff/" * 60), modified_ns=1,
        ),
        b"fifo": _entry(Kind.FIFO, mode=0o620, user=1),
        b"socket": _entry(Kind.SOCKET, mode=0o755, group=2),
        b"null": _entry(
            Kind.CHARACTER_DEVICE, mode=0o666, content=Device(major=1, minor=3),
            attributes=((b"trusted.of", b"a device"),),
        ),
        b"disk": _entry(Kind.BLOCK_DEVICE, mode=0o660, content=Device(major=259, minor=70_000)),
        b"a name": file(packing.file(b"two " * 100), inode=77, several_names=True),
        b"folder/another": file(packing.file(b"two " * 100), inode=77, several_names=True),
        b"folder/small": file(b"in the tree", inode=78, several_names=True),
        b"folder/small too": file(b"in the tree", inode=78, several_names=True),
        b"fifo 1": _entry(Kind.FIFO, inode=79, several_names=True),
        b"fifo 2": _entry(Kind.FIFO, inode=79, several_names=True),
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


async def test_everything_comes_back_as_it_was(repository: Repository, ground: Path) -> None:
    packing = Packing()
    entries = every_kind(packing)
    record = await packing.commit(repository, entries)
    done = await restore(repository, record, ground / "here")
    found = look(ground / "here")
    assert without_times_of_deletions(found) == without_times_of_deletions(
        expected(packing, entries)
    )
    assert done.entries == len(entries)
    assert not done.damages
    assert allocated_bytes(ground / "here/holes") < 2 * MB
    assert allocated_bytes(ground / "here/only a hole") == 0


async def test_small_spans_and_batches_restore_the_same(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans_module, "SPAN_BYTES_MAX", 1000)
    monkeypatch.setattr(restore_module, "BATCH_PIECES", 3)
    packing = Packing()
    entries = every_kind(packing)
    record = await packing.commit(repository, entries)
    seen: list[Progress] = []
    await restore(repository, record, tmp_path / "here", report=seen.append)
    assert without_times_of_deletions(look(tmp_path / "here")) == without_times_of_deletions(
        expected(packing, entries)
    )
    assert seen == sorted(seen, key=lambda progress: progress.file_bytes)
    assert len(seen) > 10


async def test_access_rules_of_the_folder_are_not_inherited(
    repository: Repository, ground: Path
) -> None:
    os.setxattr(ground, "system.posix_acl_default", ACL)
    packing = Packing()
    entries = {b"a": file(b"1"), b"b": _entry(Kind.FOLDER, mode=0o700)}
    record = await packing.commit(repository, entries)
    await restore(repository, record, ground / "here")
    assert look(ground / "here") == expected(packing, entries)


async def test_nothing_is_made_below_a_link(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    target = Target(path=os.fsencode(tmp_path / "outside"))
    for number, name in enumerate((b"a/evil", b"a/deep/evil", b"a"), 1):
        packing = Packing()
        entries = {
            b"a": _entry(Kind.SYMBOLIC_LINK, mode=0o777, content=target),
            name + b"/file": file(packing.file(b"content")),
        }
        record = await packing.commit(repository, entries, generation=number)
        with pytest.raises(RestoreError, match="could not be"):
            await restore(repository, record, tmp_path / str(number))
    assert not os.listdir(tmp_path / "outside")


async def test_a_folder_with_something_in_it_is_refused(
    repository: Repository, tmp_path: Path
) -> None:
    packing = Packing()
    record = await packing.commit(repository, {b"a": file(b"1")})
    (tmp_path / "mine").touch()
    with pytest.raises(NotEmptyError, match="not empty"):
        await restore(repository, record, tmp_path)
    assert os.listdir(tmp_path) == ["mine"]
    await restore(repository, record, tmp_path, into_existing=True)
    assert sorted(os.listdir(tmp_path)) == ["a", "mine"]
    with pytest.raises(RestoreError, match="'a' could not be made: File exists"):
        await restore(repository, record, tmp_path, into_existing=True)


async def test_a_damaged_chunk_costs_the_files_that_have_it(
    repository: Repository, tmp_path: Path
) -> None:
    packing = Packing()
    rng = random.Random(1)
    bad, good = rng.randbytes(5000), rng.randbytes(5000)
    entries = {
        b"bad": file(packing.file(bad)),
        b"good": file(packing.file(good)),
        b"in pieces": file(packing.file(good, bad, good)),
        b"linked": file(packing.file(b"begin", bad), inode=5, several_names=True),
        b"other name": file(packing.file(b"begin", bad), inode=5, several_names=True),
    }
    record = await packing.commit(repository, entries)
    key = await spoil(repository, bad)
    with pytest.raises(DamagedError, match=f"can't be restored: {key}"):
        await restore(repository, record, tmp_path / "all")
    done = await restore(repository, record, tmp_path / "some", keep_going=True)
    assert [path for path, _ in done.damages] == [b"bad", b"in pieces", b"linked", b"other name"]
    assert all(key in problem for _, problem in done.damages)
    assert look(tmp_path / "some").keys() == {b"", b"good"}


async def spoil(repository: Repository, raw: bytes) -> str:
    """Change a byte of a chunk that is stored raw; return its pack's name."""
    async for listed in repository.storage.list("packs/"):
        data = await repository.storage.get(listed.key)
        at = data.find(raw)
        if at >= 0:
            await repository.storage.delete(listed.key)
            changed = data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
            await repository.storage.put_new(listed.key, changed)
            return listed.key
    raise AssertionError


async def test_a_missing_pack_is_named(repository: Repository, tmp_path: Path) -> None:
    packing = Packing()
    record = await packing.commit(repository, {b"a": file(packing.file(b"12345"))})
    keys = [listed.key async for listed in repository.storage.list("packs/")]
    await repository.storage.delete(keys[0])
    with pytest.raises(DamagedError, match=f"'a' can't be restored: {keys[0]}"):
        await restore(repository, record, tmp_path / "here")
