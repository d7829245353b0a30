"""Stands in for the agent: reads its spec once, notes what it saw, waits for SIGTERM.

`--deaf` ignores SIGTERM. Standard library only, so that it starts in milliseconds.
"""

from __future__ import annotations

import json
import os
import signal
import sys


def main() -> None:
    path = sys.argv[sys.argv.index("--spec-file") + 1]
    folder = os.path.dirname(path)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if "--deaf" in sys.argv else signal.SIG_DFL)
    with open(path, encoding="utf-8") as file:
        spec = file.read()
        mode = oct(os.fstat(file.fileno()).st_mode & 0o777)
    os.unlink(path)
    _note(f"{folder}/seen-environment.json", json.dumps(dict(os.environ)))
    _note(f"{folder}/seen-mode", mode)
    _note(f"{folder}/seen-spec.json", spec)  # last: tests wait for it
    signal.pause()


def _note(path: str, text: str) -> None:
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(f"{path}.new", path)


if __name__ == "__main__":
    main()
