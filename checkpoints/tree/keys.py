"""Paths as keys, and the ranges of keys that folders are.

A key is the path of the containing folder, a zero byte, the name; that of the root folder is one
zero byte. In the order of keys

- the entries of a folder lie together, ordered by name: they begin with `a/b␀`;
- all that is below `a/b` are two ranges, `a/b␀…` and `a/b/…`; what may lie between them are
  folders beside it, as `a/b.old`;
- a folder comes before all that is in it.
"""

from __future__ import annotations

from itertools import islice
from operator import lt
from typing import TYPE_CHECKING, NewType, cast

from checkpoints.format.damage import DamagedError

if TYPE_CHECKING:
    from collections.abc import Sequence

Key = NewType("Key", bytes)
"""Not a path: both are bytes, and they are easily mixed up."""

ROOT_KEY = Key(b"\0")
"""The root folder's, whose path is empty. No key is smaller."""
END_KEY = Key(b"\xff" * 256)
"""Larger than all keys, because no name has 256 bytes."""
NAME_BYTES_MAX = 255
PATH_BYTES_MAX = 4096
_NOT_NAMES = frozenset((b"", b".", b".."))


def key_of(path: bytes) -> Key:
    """Return the key of a path, or raise ValueError if none like it can be in a tree."""
    if not path:
        return ROOT_KEY
    folder, slash, name = path.rpartition(b"/")
    if problem := (_folder_problem(folder) if slash else "") or _name_problem(name):
        raise ValueError(f"{path!r} {problem}")
    if len(path) > PATH_BYTES_MAX:
        raise ValueError(f"{path[:80]!r}… has {len(path)} bytes, at most {PATH_BYTES_MAX} can be")
    return Key(folder + b"\0" + name)


def path_of(key: Key) -> bytes:
    """Return the path that a valid key stands for."""
    folder, _, name = key.partition(b"\0")
    return folder + b"/" + name if folder else name


def name_of(key: Key) -> bytes:
    return key.partition(b"\0")[2]


def folder_range(path: bytes) -> tuple[Key, Key]:
    """Return from where, and up to but without what, the keys of a folder's entries are."""
    return Key(path + b"\0\1"), Key(path + b"\1")


def below_ranges(path: bytes) -> tuple[tuple[Key, Key], ...]:
    """Return the ranges of all that is below a folder, at any depth, ascending."""
    if not path:
        return ((Key(b"\0\1"), END_KEY),)
    return folder_range(path), (Key(path + b"/"), Key(path + b"0"))


def check(keys: Sequence[bytes]) -> Sequence[Key]:
    """Return what was read as keys if they are valid and ascend, or raise DamagedError.

    What is restored from them stays below the folder it is restored to.
    """
    if not _are_well(keys):
        _explain(keys)
    return cast("Sequence[Key]", keys)


# Whoever walks a tree has all of its keys come this way: 0.3 µs each, where one by one takes 1 µs.
def _are_well(keys: Sequence[bytes]) -> bool:
    """Say whether keys are valid and ascend. May say no to those with the root folder's."""
    parts = [key.split(b"\0") for key in keys]
    if not parts or max(map(len, parts)) != 2 or min(map(len, parts)) != 2:
        return False
    folders, names = zip(*parts, strict=True)
    above = [name for folder in set(folders) if folder for name in folder.split(b"/")]
    return (
        _NOT_NAMES.isdisjoint(names)
        and _NOT_NAMES.isdisjoint(above)
        and b"/" not in b"\0".join(names)
        and max(map(len, (*names, *above))) <= NAME_BYTES_MAX
        and max(map(len, keys)) <= PATH_BYTES_MAX
        and all(map(lt, keys, islice(keys, 1, None)))
    )


def _explain(keys: Sequence[bytes]) -> None:
    """Look at keys one by one; raise DamagedError of the first that is wrong, if any is."""
    previous = b""
    for key in keys:
        folder, _, name = key.partition(b"\0")
        if folder and (problem := _folder_problem(folder)):
            raise DamagedError(f"the folder of the key {key[:80]!r} {problem}")
        if key != ROOT_KEY and (problem := _name_problem(name)):
            raise DamagedError(f"the name of the key {key[:80]!r} {problem}")
        if len(key) > PATH_BYTES_MAX:
            raise DamagedError(f"the key {key[:80]!r}… has {len(key)} bytes")
        if key <= previous:
            raise DamagedError(f"the key {key[:80]!r} comes after {previous[:80]!r}")
        previous = key


def _folder_problem(folder: bytes) -> str:
    for name in folder.split(b"/"):
        if problem := _name_problem(name):
            return problem
    return ""


def _name_problem(name: bytes) -> str:
    if name in _NOT_NAMES:
        return "has an empty name, or one of dots, in it"
    if len(name) > NAME_BYTES_MAX:
        return f"has a name of more than {NAME_BYTES_MAX} bytes in it"
    if b"\0" in name or b"/" in name:
        return "has a zero byte in it"
    return ""
