"""One process of the tool.

It is started in a session of its own, so that signals meant for it reach its process group and
nobody else; with every descriptor but the output pipe closed; and through `setpriv --pdeathsig
KILL`, so that the kernel ends it when the agent is killed: nobody can reach a tool without its
agent.

Started with the standard library's Popen and waited for by pidfd, not with the loop's subprocesses:
uvloop's leave copies of the agent's standard streams open in the child (seen with 0.23).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess  # noqa: TID251 - see the module's docstring
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

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Use `start`."""
        self._process = process
        self.pid = process.pid
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pidfd = os.pidfd_open(process.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)

    def _reap(self) -> None:
        """Take the exit status; the descriptor is readable once there is one."""
        code = self._process.wait()
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        if not self._ended.done():
            self._ended.set_result(code)

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        working_directory: str,
        output_fd: int,
    ) -> ToolProcess:
        """Start `command`; a program that doesn't exist ends with 127 and says so.

        Takes a millisecond or two of the loop: until the kernel has replaced the child's image.
        """
        setpriv = find_setpriv()
        try:
            os.makedirs(working_directory, exist_ok=True)
            process = subprocess.Popen(
                [setpriv, "--pdeathsig", "KILL", "--", *command],
                env=environment,
                cwd=working_directory,
                stdin=subprocess.DEVNULL,
                stdout=output_fd,
                stderr=output_fd,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
            raise CannotStartError(f"the tool could not be started: {error}") from None
        return cls(process)

    async def wait(self) -> str:
        """Return how it ended, once it has. Output that is still on its way doesn't delay this."""
        return describe_exit(await asyncio.shield(self._ended))

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the process and those it started that stayed in its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)
