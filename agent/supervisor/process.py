"""One process of the tool.

It is started in a session of its own, so that signals meant for it reach its process group and
nobody else; with every descriptor but the output pipe closed; and through `setpriv --pdeathsig
KILL`, so that the kernel ends it when the agent is killed: nobody can reach a tool without its
agent.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_AGENT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class CannotStartError(Exception):
    """The tool's process could not be created; the text is a sentence. A retry may help."""


def describe_exit(code: int) -> str:
    """Name an exit as people do: `exit code 1`, `killed by SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:  # real-time signals have no names
        name = f"signal {-code}"
    return f"killed by {name}"


def find_setpriv() -> str:
    """Return the path of setpriv, or raise CannotStartError."""
    found = shutil.which("setpriv", path=_AGENT_PATH)
    if found is None:
        raise CannotStartError("setpriv is missing: install the package util-linux")
    return found


class ToolProcess:
    """A started process. Its pid is also its process group and its session."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        working_directory: str,
        output_fd: int,
    ) -> ToolProcess:
        """Start `command`; a program that doesn't exist ends with 127 and says so."""
        setpriv = find_setpriv()
        try:
            os.makedirs(working_directory, exist_ok=True)
            process = await asyncio.create_subprocess_exec(
                setpriv,
                "--pdeathsig",
                "KILL",
                "--",
                *command,
                env=dict(environment),
                cwd=working_directory,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output_fd,
                stderr=output_fd,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
            raise CannotStartError(f"the tool could not be started: {error}") from None
        return cls(process)

    async def wait(self) -> str:
        """Return how it ended, once it has. Output that is still on its way doesn't delay this."""
        return describe_exit(await self._process.wait())

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the process and those it started that stayed in its group."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return
