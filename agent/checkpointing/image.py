"""What a session's root is made from, in a word that changes when that does."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

RELEASE = Path("/etc/os-release")
PACKAGES = (
    Path("/var/lib/dpkg/status"),
    Path("/var/lib/rpm/rpmdb.sqlite"),
    Path("/usr/lib/sysimage/rpm/rpmdb.sqlite"),
    Path("/lib/apk/db/installed"),
)
"""Where distributions keep which packages there are."""
_DIGITS = 12


def image_of(kind: Literal["host", "container"], root: Path = Path("/")) -> str:
    """Return the image's word: its distribution, and a digest of its packages.

    Blocks for as long as a file of some megabytes takes. For images whose engine can't name them.
    """
    digest = hashlib.sha256()
    for path in _below(root, PACKAGES):
        digest.update(path.read_bytes() if path.is_file() else b"-")
    return f"{kind}:{_release(root)}:{digest.hexdigest()[:_DIGITS]}"


def _release(root: Path) -> str:
    (path,) = _below(root, [RELEASE])
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return "linux"
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    found = [fields.get(name, "").strip("\"'") for name in ("ID", "VERSION_ID")]
    return "-".join(word for word in found if word) or "linux"


def _below(root: Path, paths: Iterable[Path]) -> list[Path]:
    return [root / path.relative_to("/") for path in paths]
