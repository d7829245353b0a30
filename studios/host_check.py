"""Asks an agent whether sessions can run on this machine.

The agent that would run them answers, as a program of its own: the command line knows nothing of
what sessions are made of.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from common.findings import Findings
from common.session_spec import VolumeLimits
from common.wire import MalformedMessageError, decode
from studios.failures import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable

SECONDS_MAX = 30.0
"""It takes about one; each of its trials has a shorter limit of its own."""
SESSIONS_FOLDER = "sessions"
"""In the data folder, by the control plane: a folder for each session that was ever started."""
_PROJECT = Path(__file__).resolve().parents[1]
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONPATH": str(_PROJECT),
}
"""An agent's, as the engine `local` gives it."""
_IMAGE = "host"  # of all sessions on this machine: see the engine `local`


async def look_at_host(
    data_dir: Path,
    carried: Iterable[Path] = (),
    *,
    initial_bytes: int = VolumeLimits().initial_bytes,
    agent_command: tuple[str, ...] = (sys.executable, "-P", "-m", "agent"),
) -> Findings:
    """Return what the agent finds; `data_dir` need not exist.

    Where there are sessions, no room for another one's volume is only a loss: who can't look at
    them can't stop or delete them either, to make room.
    """
    process = await asyncio.create_subprocess_exec(
        *agent_command,
        *("--check", "--json", "--image", _IMAGE, "--state-dir", str(data_dir)),
        *("--initial-bytes", str(initial_bytes)),
        *(("--has-sessions",) if _has_sessions(data_dir) else ()),
        *(f"--carried={path}" for path in carried),
        env=_ENVIRONMENT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SECONDS_MAX):
            printed, complaint = await process.communicate()
    except TimeoutError:
        raise CommandError(
            f"The check of this machine has not ended after {SECONDS_MAX:.0f} s: "
            "a disk or device may hang; see what the kernel says with dmesg."
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
    try:
        return decode(printed, Findings)
    except MalformedMessageError:
        lines = complaint.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise CommandError(f"The check of this machine failed: {lines[-1].rstrip('.')}.") from None


def _has_sessions(data_dir: Path) -> bool:
    try:
        return any((data_dir / SESSIONS_FOLDER).iterdir())
    except OSError:
        return False
