"""Programs that are started in a session from outside: `studios exec`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import subprocess  # noqa: TID251 - see launching
import termios
from pathlib import Path
from typing import TYPE_CHECKING

from agent.root.launching import launch_helper

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping, Sequence

    from agent.root.conversation import Conversation, StartedProgram
    from agent.root.orders import Enter

_FDS_MAX = 1
_PIDS = re.compile(r"^NSpid:.*?(\d+)$", re.MULTILINE)


class EnteredProgram:
    """A program with its own helper outside, which ends with it."""

    def __init__(
        self,
        helper: Conversation,
        program: StartedProgram,
        terminal_fd: int | None,
        helpers: set[Conversation],
    ) -> None:
        self._helper = helper
        self._helpers = helpers
        self._program = program
        self.pid = _pid_inside(program.pid)
        """Its number in the session; 0 if it had ended before one could look."""
        self.terminal_fd = terminal_fd
        """This side of its terminal, whoever closes it; None without one."""

    async def wait(self) -> int:
        """Return its exit code, negative for a signal."""
        try:
            return await self._program.wait()
        finally:
            await self.close()

    def send_signal(self, number: signal.Signals) -> None:
        """Signal its process group, if it still lives."""
        self._helper.send_signal(self._program.pid, number)

    async def close(self) -> None:
        """End the helper, and the program unless it was started to outlive it. Idempotent."""
        self._helper.kill()
        await self._helper.wait()
        self._helpers.discard(self._helper)


async def enter(
    order: Enter,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    working_directory: str,
    *,
    streams: tuple[int, int, int] | None,
    terminal_size: tuple[int, int],
    helpers: set[Conversation],
) -> EnteredProgram:
    """Start a program in the session, on `streams` or, without, on a new terminal.

    `order` is taken as it is but for the terminal. The helper is in `helpers` for as long as it
    lives. Raise SessionFailedError.
    """
    with contextlib.ExitStack() as closing:
        channel: socket.socket | None = None
        if streams is None:
            channel, far_end = (closing.enter_context(end) for end in socket.socketpair())
            order.terminal_fd = far_end.fileno()
        null = (subprocess.DEVNULL,) * 3
        helper = launch_helper(order, null if streams is None else streams)
        helpers.add(helper)
        try:
            await helper.ready()
            terminal_fd = None if channel is None else _receive(channel)
            try:
                if terminal_fd is not None:
                    termios.tcsetwinsize(terminal_fd, terminal_size)
                program = await helper.start(arguments, environment, working_directory)
            except BaseException:
                if terminal_fd is not None:
                    os.close(terminal_fd)
                raise
        except BaseException:
            helper.kill()
            await asyncio.shield(helper.wait())
            helpers.discard(helper)
            raise
    return EnteredProgram(helper, program, terminal_fd, helpers)


def _pid_inside(pid: int) -> int:
    """Return the number that a process, which is `pid` here, has in its own pid namespace."""
    try:
        found = _PIDS.search(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0


def _receive(channel: socket.socket) -> int:
    """Take the descriptor, which was sent before the helper said that it is ready."""
    channel.setblocking(False)
    _, fds, _, _ = socket.recv_fds(channel, 1, _FDS_MAX)
    os.set_inheritable(fds[0], False)
    return fds[0]
