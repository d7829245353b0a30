"""Looks at the host and answers with `HostFacts`: what the plan is made from."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from agent.root import mountinfo
from agent.root.facts import Attributes, HostFacts, TextFile
from agent.root.hidden import KEY_FILES, PASSWORD_FILES
from agent.root.paths import ancestors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_COMMANDS_FOLDER = "/usr/local/bin"  # on every PATH, before what packages bring
_DEVICE_DEPTH_MAX = 2  # /dev/dri/card0, /dev/net/tun


def real_paths(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the paths without links: what is hidden must be hidden where it really is."""
    return tuple(os.path.realpath(path) for path in paths)


def survey(folders: Iterable[str]) -> HostFacts:
    """Look at the host; `folders`, without links, are those that might be emptied.

    Reads local files only. Blocks for about a millisecond.
    """
    secrets = [path for path in real_paths(KEY_FILES) if os.path.isfile(path)]
    passwords = {path: _text_file(path) for path in PASSWORD_FILES if os.path.isfile(path)}
    (commands_folder,) = real_paths([_COMMANDS_FOLDER])
    there = [path for path in (*folders, commands_folder) if os.path.isdir(path)]
    leaves = (*there, *secrets, *passwords, commands_folder)
    above = {folder for path in leaves for folder in ancestors(path) if os.path.isdir(folder)}
    return HostFacts(
        mounts=mountinfo.parse(_text("/proc/self/mountinfo")),
        devices=frozenset(_devices("/dev", 1)),
        folders={path: _attributes(path) for path in {*there, *above}},
        secrets=frozenset(secrets),
        password_files=passwords,
        commands_folder=commands_folder,
        resolv_conf=_text("/etc/resolv.conf"),
        hosts=_text("/etc/hosts"),
        processes_max=int(_text("/proc/sys/kernel/pid_max")),
    )


def _text(path: str) -> str:
    """Return a file's text; empty if there is none. Bytes that are no text survive."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""


def _text_file(path: str) -> TextFile:
    return TextFile(_text(path), _attributes(path))


def _attributes(path: str) -> Attributes:
    status = os.stat(path)
    return Attributes(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def _devices(folder: str, depth: int) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISCHR(mode):
                yield entry.path.removeprefix("/dev/")
            elif stat.S_ISDIR(mode) and depth < _DEVICE_DEPTH_MAX and entry.name != "pts":
                yield from _devices(entry.path, depth + 1)
