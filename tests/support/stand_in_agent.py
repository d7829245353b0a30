"""Stands in for the agent: reads its spec once, notes what it saw, waits for SIGTERM.

Like the real one it has a first process of a session, noted in `session.pid`, that ends with it.
`--deaf` ignores SIGTERM. Standard library only, so that it starts in milliseconds.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    path = sys.argv[sys.argv.index("--spec-file") + 1]
    folder = os.path.dirname(path)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if "--deaf" in sys.argv else signal.SIG_DFL)
    _start_first_process(folder)
    with open(path, encoding="utf-8") as file:
        spec = file.read()
        mode = oct(os.fstat(file.fileno()).st_mode & 0o777)
    os.unlink(path)
    _note(f"{folder}/seen-environment.json", json.dumps(dict(os.environ)))
    _note(f"{folder}/seen-mode", mode)
    _note(f"{folder}/seen-spec.json", spec)  # last: tests wait for it
    signal.pause()


def _start_first_process(folder: str) -> None:
    agent, libc = os.getpid(), ctypes.CDLL(None)
    pid = os.fork()
    if pid == 0:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == agent:  # else it was killed before this could be asked for
            os.execv("/bin/sleep", [f"first-process-of {folder}", "600"])
        os._exit(1)
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        started = int(file.read().rpartition(")")[2].split()[19])
    _note(f"{folder}/session.pid", json.dumps({"pid": pid, "startTicks": started}))


def _note(path: str, text: str) -> None:
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(f"{path}.new", path)


if __name__ == "__main__":
    main()
