"""Questions about absolute paths, as text. Pure: no link is followed, no file looked at."""

from __future__ import annotations

from posixpath import normpath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def is_normal(path: str) -> bool:
    """Tell if it is absolute, without `..`, `.`, empty parts and a slash at its end."""
    return path.startswith("/") and not path.startswith("//") and normpath(path) == path


def is_within(path: str, folder: str) -> bool:
    """Tell if `path` is the folder itself or below it."""
    return folder in {"/", path} or path.startswith(folder + "/")


def ancestors(path: str) -> tuple[str, ...]:
    """Return the folders above `path`, from the top, without the root."""
    parts = path.split("/")[1:-1]
    return tuple("/" + "/".join(parts[: count + 1]) for count in range(len(parts)))


def topmost(paths: Iterable[str]) -> tuple[str, ...]:
    """Return those that lie within no other, sorted."""
    found: list[str] = []
    for path in sorted(set(paths), key=lambda path: path.split("/")):
        if not found or not is_within(path, found[-1]):
            found.append(path)
    return tuple(found)
