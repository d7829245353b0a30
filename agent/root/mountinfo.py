"""The kernel's list of mounts, parsed: `/proc/self/mountinfo`, see proc_pid_mountinfo(5). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ESCAPE = re.compile(r"\\([0-7]{3})")
_FIELDS_BEFORE_OPTIONAL = 6
_FIELDS_AFTER_SEPARATOR = 3


class MalformedMountError(ValueError):
    """A line that is not of the documented form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mount, in the order of the table: a later one covers an earlier one of its place."""

    device: tuple[int, int]
    """The file system's number, major and minor; the same wherever it is mounted."""
    root: str
    """The folder or file of the file system that is mounted; `/` for all of it."""
    point: str
    """Where: an absolute path."""
    options: frozenset[str]
    """This mount's own options: `ro`, `nodev`, …"""
    kind: str
    """The file system's: `ext4`, `overlay`, `cgroup2`."""
    source: str
    super_options: frozenset[str]
    """The file system's own options; a version 1 cgroup names its controllers here."""


def parse(text: str) -> tuple[Mount, ...]:
    """Return all mounts, or raise MalformedMountError."""
    return tuple(_parse_line(line) for line in text.splitlines() if line)


def _parse_line(line: str) -> Mount:
    fields = line.split(" ")
    try:
        separator = fields.index("-", _FIELDS_BEFORE_OPTIONAL)
    except ValueError:
        raise MalformedMountError(line) from None
    after = fields[separator + 1 :]
    if len(after) < _FIELDS_AFTER_SEPARATOR:
        raise MalformedMountError(line)
    try:
        major, minor = (int(part) for part in fields[2].split(":"))
    except ValueError:
        raise MalformedMountError(line) from None
    return Mount(
        device=(major, minor),
        root=_unescape(fields[3]),
        point=_unescape(fields[4]),
        options=frozenset(fields[5].split(",")),
        kind=after[0],
        source=_unescape(after[1]),
        super_options=frozenset(after[2].split(",")),
    )


def _unescape(field: str) -> str:
    """Undo the octal escapes of blank, tab, newline and backslash."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)
