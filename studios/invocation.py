"""Commands in what we say, as they work where the person stands.

Sentences name commands plainly: `studios list`. Whether that can be typed depends on `PATH`, and
whether it reaches the same Studios on the data folder, so what is printed says both where needed.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

NAME = "studios"
_COMMAND = re.compile(rf"`{NAME} (?!up\b)([^`]+)`")
"""`studios up` is the name of a program more often than something to type."""


def as_typed(sentence: str, *, program: str, data_dir: Path | None) -> str:
    """Return the sentence with its commands made complete; `data_dir` is one that must be said."""
    words = [shlex.quote(program)]
    if data_dir is not None:
        words.insert(0, f"STUDIOS_DATA_DIR={shlex.quote(str(data_dir))}")
    return _COMMAND.sub(lambda found: f"`{' '.join(words)} {found[1]}`", sentence)


def find_program() -> str:
    """Return how this program is called from the current folder."""
    own = Path(sys.argv[0])
    if own.name != NAME:  # python -m studios
        own = Path(sys.executable).with_name(NAME)
    on_path = shutil.which(NAME)
    if on_path is not None and own.exists() and Path(on_path).samefile(own):
        return NAME
    own = own.absolute()
    return str(own.relative_to(Path.cwd())) if own.is_relative_to(Path.cwd()) else str(own)
