"""The session's cgroups: made, limited, watched, removed.

Nobody but the session's programs is in them: not the agent, not the session's first process.
"""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from agent.parts import Use
from agent.root import accounts, mountinfo
from agent.root.cgroup_layout import Hierarchy, hierarchies, missing, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.root.plan import Limits

T = TypeVar("T")

PREFIX = "studios-"
_AGENT = "studios-agent"
_PROCESSES = "cgroup.procs"
_MOVES_MAX = 5  # of what was started while the others moved


@dataclass(frozen=True, slots=True)
class MadeFolder:
    """The session's folder in one hierarchy."""

    hierarchy: Hierarchy
    path: Path
    outside: Path
    """The folder that the agent is in."""

    def read(self, name: str) -> str:
        """Return a file's text; empty if there is none."""
        return _read(self.path / name)


class SessionCgroup:
    """The session's folders in all hierarchies; empty where there are no cgroups."""

    def __init__(self, name: str, limits: Limits) -> None:
        """Make and limit them. What can't be had is in `gives_up`.

        Folders of the same name that an earlier run left are removed first. Blocks for some
        milliseconds.
        """
        found = _find()
        gives_up = [*missing(found, limits)]
        self.folders: list[MadeFolder] = []
        for hierarchy in found:
            try:
                self.folders.append(_make(hierarchy, PREFIX + name, limits))
            except OSError as error:
                names = ", ".join(hierarchy.controllers)
                gives_up.append(f"The session's limits ({names}) can't be kept: {error}")
        self.gives_up = tuple(gives_up)
        """Sentences for the status."""

    @property
    def inside(self) -> tuple[str, ...]:
        """Files that take the pid of a process that is to belong to the session."""
        return tuple(str(made.path / _PROCESSES) for made in self.folders)

    @property
    def outside(self) -> tuple[str, ...]:
        """Files that take it back to the agent, in the same sequence."""
        return tuple(str(made.outside / _PROCESSES) for made in self.folders)

    def processes(self) -> frozenset[int]:
        """Return the pids of all that is in the session."""
        return frozenset(
            int(pid) for made in self.folders for pid in _read(made.path / _PROCESSES).split()
        )

    def memory_kills(self) -> int:
        """Return how often the kernel ended a process of the session for want of memory."""
        return self._account(accounts.memory_kills) or 0

    def process_limit_hits(self) -> int:
        """Return how often the session could not start a process because of its limit."""
        return self._account(accounts.process_limit_hits) or 0

    def use(self) -> Use | None:
        """Measure; None where an account is missing. Reads three small files."""
        cpu_seconds = self._account(accounts.cpu_seconds)
        memory_bytes = self._account(accounts.memory_bytes)
        processes = self._account(accounts.processes)
        if cpu_seconds is None or memory_bytes is None or processes is None:
            return None
        return Use(cpu_seconds, memory_bytes, processes)

    def _account(self, account: Callable[[Hierarchy, accounts.Read], T | None]) -> T | None:
        """Return the answer of the first hierarchy that keeps this account."""
        answers = (account(made.hierarchy, made.read) for made in self.folders)
        return next((answer for answer in answers if answer is not None), None)

    def memory_paths(self) -> frozenset[str]:
        """Return the session's names in the kernel's log."""
        return frozenset(
            f"/{made.path.name}" for made in self.folders if "memory" in made.hierarchy.controllers
        )

    def remove(self) -> None:
        """Remove the folders. What still lives in them keeps them: a later run tries again."""
        for made in self.folders:
            with contextlib.suppress(OSError):
                _remove(made.path)


def _find() -> tuple[Hierarchy, ...]:
    mounts = mountinfo.parse(_read(Path("/proc/self/mountinfo")))
    own = _read(Path("/proc/self/cgroup"))
    return hierarchies(mounts, own, lambda folder: _read(Path(folder, "cgroup.controllers")))


def _make(hierarchy: Hierarchy, name: str, limits: Limits) -> MadeFolder:
    parent = outside = Path(hierarchy.folder)
    if hierarchy.version == 2:
        parent, outside = _leave_room(parent, hierarchy)
    path = parent / name
    if path.exists():
        _remove(path)
    path.mkdir()
    try:
        for setting in settings(hierarchy, limits):
            if setting.required or (path / setting.file).exists():
                (path / setting.file).write_text(setting.value)
    except OSError:
        path.rmdir()
        raise
    return MadeFolder(hierarchy, path, outside)


def _leave_room(folder: Path, hierarchy: Hierarchy) -> tuple[Path, Path]:
    """Let the agent's version 2 cgroup have limited children; return it and where the agent is.

    The agent and whatever else is there moves into a child first, else the kernel says EBUSY; it
    does so again for what was started meanwhile. Only a machine's topmost folder may hold both.
    """
    if folder.name == _AGENT:
        return folder.parent, folder
    wanted = " ".join(f"+{name}" for name in hierarchy.controllers)
    is_machine = not (folder / "cgroup.type").exists()
    if is_machine:
        (folder / "cgroup.subtree_control").write_text(wanted)
        return folder, folder
    own = folder / _AGENT
    own.mkdir(exist_ok=True)
    for attempt in range(_MOVES_MAX):
        for pid in _read(folder / _PROCESSES).split():
            with contextlib.suppress(ProcessLookupError):
                (own / _PROCESSES).write_text(pid)
        try:
            (folder / "cgroup.subtree_control").write_text(wanted)
            break
        except OSError as error:
            if error.errno != errno.EBUSY or attempt == _MOVES_MAX - 1:
                raise
    return folder, own


def _remove(path: Path) -> None:
    for child in _folders(path):
        _remove(child)
    try:
        path.rmdir()
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


def _folders(path: Path) -> Iterator[Path]:
    with os.scandir(path) as entries:
        yield from (Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""
