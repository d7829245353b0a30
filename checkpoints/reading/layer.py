"""A tree as the layer of an OCI image. Pure: entries in, pieces of an archive out.

| tree | layer |
|---|---|
| a deletion of `a/b` | an empty file `a/.wh.b` |
| an opaque folder `a` | the folder, then an empty file `a/.wh..wh..opq` |
| several names | the first is the file, the others are links to it |
| a socket; a name that begins with `.wh.` | nothing |
| an attribute with `=` in its name, or an empty value, which in archives takes one away | nothing |

Names come in the order of the tree: folders before what is in them, but not all of a folder
together. (GNU tar needs `--delay-directory-restore` to keep their times; what unpacks images
doesn't.) What a layer can't tell goes to `left_out`. Holes become zeros. A layer is applied to the
image that the generation was taken over, and gives what a session saw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from checkpoints.reading import tar_headers
from checkpoints.reading.tar_headers import Header
from checkpoints.tree.entry import Device, Entry, Extents, IndirectExtents, Inline, Kind, Target
from checkpoints.tree.keys import path_of
from checkpoints.tree.long_lists import extents_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from checkpoints.tree.extents import Extent
    from checkpoints.tree.keys import Key
    from checkpoints.tree.node import Fetch

DELETED = b".wh."
OPAQUE = b".wh..wh..opq"
_TYPES = {
    Kind.FILE: tar_headers.FILE,
    Kind.FOLDER: tar_headers.FOLDER,
    Kind.SYMBOLIC_LINK: tar_headers.SYMBOLIC_LINK,
    Kind.FIFO: tar_headers.FIFO,
    Kind.CHARACTER_DEVICE: tar_headers.CHARACTER,
    Kind.BLOCK_DEVICE: tar_headers.BLOCK,
}


class LeftOut(msgspec.Struct, frozen=True):
    """Something that a layer can't tell."""

    path: bytes
    what: str


def archive(
    entries: Iterable[tuple[Key, Entry]], fetch: Fetch, left_out: Callable[[LeftOut], None]
) -> Iterator[bytes | Extent]:
    """Yield an archive: bytes as they are, and extents whose content belongs there."""
    first_names: dict[int, bytes] = {}
    for key, entry in entries:
        path = path_of(key)
        folder, slash, name = path.rpartition(b"/")
        if DELETED in path and _is_hidden(path):
            left_out(LeftOut(path, "its name would be taken for a deletion"))
        elif entry.kind is Kind.DELETION:
            yield _empty(folder + slash + DELETED + name)
        elif entry.kind is Kind.SOCKET:
            left_out(LeftOut(path, "layers have no sockets"))
        elif entry.several_names and first_names.setdefault(entry.inode, path) != path:
            yield tar_headers.encode(_link(path, entry, first_names[entry.inode]))
        else:
            yield tar_headers.encode(_header(path, entry, left_out))
            yield from _content(entry, fetch)
            if entry.opaque:
                yield _empty((path + b"/" if path else b"") + OPAQUE)
    yield tar_headers.END


def _is_hidden(path: bytes) -> bool:
    """Say whether a name on the way to a path can't be told."""
    return any(name.startswith(DELETED) for name in path.split(b"/"))


def _empty(path: bytes) -> bytes:
    return tar_headers.encode(Header(name=path, type=tar_headers.FILE, mode=0o600))


def _link(path: bytes, entry: Entry, target: bytes) -> Header:
    return Header(
        name=path,
        type=tar_headers.LINK,
        mode=entry.mode,
        user=entry.user,
        group=entry.group,
        modified_ns=entry.modified_ns,
        target=target,
    )


def _header(path: bytes, entry: Entry, left_out: Callable[[LeftOut], None]) -> Header:
    content = entry.content
    device = content if isinstance(content, Device) else Device(major=0, minor=0)
    kept = tuple((name, value) for name, value in entry.attributes if value and b"=" not in name)
    for pair in entry.attributes:
        if pair not in kept:
            left_out(LeftOut(path, f"its attribute {pair[0].decode(errors='replace')}"))
    return Header(
        name=(path or b".") + b"/" if entry.kind is Kind.FOLDER else path,
        type=_TYPES[entry.kind],
        mode=entry.mode,
        user=entry.user,
        group=entry.group,
        modified_ns=entry.modified_ns,
        size_bytes=entry.size_bytes,
        target=content.path if isinstance(content, Target) else b"",
        major=device.major,
        minor=device.minor,
        attributes=kept,
    )


def _content(entry: Entry, fetch: Fetch) -> Iterator[bytes | Extent]:
    content = entry.content
    if isinstance(content, Inline):
        yield content.data
    elif isinstance(content, (Extents, IndirectExtents)):
        yield from extents_of(content, fetch)
    else:
        return
    yield tar_headers.padding(entry.size_bytes)
