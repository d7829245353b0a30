"""Entries of trees as people and scripts see them. Pure."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from checkpoints.tree.entry import Device, Entry, Kind, Target
from studios.output import printable

if TYPE_CHECKING:
    from checkpoints.reading.reach import Loss

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TYPES = {
    Kind.FILE: stat.S_IFREG,
    Kind.FOLDER: stat.S_IFDIR,
    Kind.SYMBOLIC_LINK: stat.S_IFLNK,
    Kind.FIFO: stat.S_IFIFO,
    Kind.CHARACTER_DEVICE: stat.S_IFCHR,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
    Kind.SOCKET: stat.S_IFSOCK,
}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024


class Shown(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An entry, for scripts. What is no text in a name is escaped as Python's surrogates are."""

    path: str
    kind: str
    mode: str
    user: int
    group: int
    size: int
    modified: str
    target: str = ""
    device: str = ""
    opaque: bool = False
    attributes: tuple[str, ...] = ()


def show(path: bytes, entry: Entry) -> Shown:
    """Return an entry for scripts."""
    content = entry.content
    return Shown(
        path=text(path),
        kind=entry.kind.name.lower().replace("_", "-"),
        mode=f"{entry.mode:04o}",
        user=entry.user,
        group=entry.group,
        size=entry.size_bytes,
        modified="" if entry.kind is Kind.DELETION else show_ns(entry.modified_ns),
        target=text(content.path) if isinstance(content, Target) else "",
        device=f"{content.major}:{content.minor}" if isinstance(content, Device) else "",
        opaque=entry.opaque,
        attributes=tuple(text(name) for name, _ in entry.attributes),
    )


def row(name: bytes, entry: Entry) -> tuple[str, ...]:
    """Return an entry as a line of a table."""
    shown = show(name, entry)
    label = shown.path or "/"
    if entry.kind is Kind.DELETION:
        return "deleted", "", "", "", label
    if shown.target:
        label = f"{label} → {shown.target}"
    if entry.opaque:
        label = f"{label} (replaced)"
    return (
        stat.filemode(_TYPES[entry.kind] | entry.mode),
        f"{entry.user}:{entry.group}",
        shown.device or (show_bytes(entry.size_bytes) if entry.kind is Kind.FILE else ""),
        shown.modified.replace("T", " ")[:19],
        label,
    )


def show_loss(loss: Loss) -> str:
    """Return what is lost: a file, or names with a node of a tree."""
    path = "/" + shown_path(loss.path)
    what = f"{loss.names} names from {path} on" if loss.names else path
    return f"{what} (of what was restored below)" if loss.of_base else what


def shown_path(path: bytes) -> str:
    """Return bytes of a name for a person's terminal, which nothing in it can act on."""
    return printable(text(path))


def text(path: bytes) -> str:
    """Return bytes of a name as text, for scripts."""
    return os.fsdecode(path).encode("utf-8", "backslashreplace").decode()


def show_ns(time_ns: int) -> str:
    try:
        return (_EPOCH + timedelta(microseconds=time_ns // 1000)).isoformat()
    except OverflowError:
        return f"@{time_ns // 1_000_000_000}"


def counted(number: int, what: str, several: str = "") -> str:
    """Return a number of things, with the right word for so many."""
    return f"{number} {what if number == 1 else several or what + 's'}"


def show_bytes(size_bytes: float) -> str:
    for unit in _UNITS[:-1]:
        if size_bytes < _STEP:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= _STEP
    return f"{size_bytes:.1f} {_UNITS[-1]}"
