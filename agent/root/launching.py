"""Starts processes around a session: its first one, and helpers that enter it.

The agent's main thread gives its children a new pid namespace for the length of one start, and
takes it back. So the session's first process is the agent's own child, with nothing in between; its
parent-death signal is tied to the agent's main thread, which lives as long as the agent.

Started with the standard library's Popen and waited for by pidfd, not with the loop's subprocesses:
uvloop's leave copies of the agent's standard streams open in the child (seen with 0.23).

The interpreter is run through a detached read-only copy of its mount. Whatever the session does
with a link to the executable of such a process, it can't write there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import subprocess  # noqa: TID251 - see launching
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from agent.root import kernel
from agent.root.conversation import Conversation
from agent.root.orders import memory_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.root.orders import Enter, Launch

CODE = Path(__file__).resolve().parents[2]
"""Where this package is imported from. Told by a descriptor: everybody in a session can read the
arguments of its first process."""
_BOOT = """\
import os, sys
arguments = [int(argument) for argument in sys.argv[1:]]
sys.path.insert(0, os.fsdecode(os.read(arguments.pop(0), 4096)))
from agent.root.{module} import main
main(*arguments)
"""
_PIPE_BYTES = 1024 * 1024  # holds a whole order, so that giving one never waits


def launch_first(launch: Launch, *, output_fd: int) -> Conversation:
    """Start a session's first process, from the main thread's event loop.

    `output_fd` is a pipe: what the session's programs print. Takes some milliseconds of the loop.
    """
    assert stat.S_ISFIFO(os.fstat(output_fd).st_mode)  # a file could be opened again inside
    passed = () if launch.network_fd is None else (launch.network_fd,)
    streams = (subprocess.DEVNULL, output_fd, output_fd)
    with _children_in_new_pid_namespace():
        return _launch("launcher", launch.pack(), passed, streams)


def launch_helper(enter: Enter, streams: tuple[int, int, int]) -> Conversation:
    """Start a helper that enters a session. It gets `streams` as its standard streams."""
    passed = [enter.first_process_fd]
    if enter.terminal_fd is not None:
        passed.append(enter.terminal_fd)
    return _launch("enter", enter.pack(), passed, streams)


def _launch(
    module: str, plan: bytes, passed: Sequence[int], streams: tuple[int, int, int]
) -> Conversation:
    orders, orders_end = _pipe()
    events_end, events = _pipe()
    try:
        plan_fd = memory_file("studios-plan", plan)
        try:
            process = _spawn_python(module, (plan_fd, orders, events), passed, streams)
        finally:
            os.close(plan_fd)
    except BaseException:
        os.close(orders_end)
        os.close(events_end)
        raise
    finally:
        os.close(orders)
        os.close(events)
    return Conversation(process, orders_fd=orders_end, events_fd=events_end)


def _spawn_python(
    module: str, arguments: Sequence[int], passed: Sequence[int], streams: tuple[int, int, int]
) -> subprocess.Popen[bytes]:
    """Run `main` of a module of this package in an interpreter of its own.

    It gets the descriptors in `arguments` and `passed`, no environment, nothing else of the agent.
    """
    program = os.path.realpath(sys.executable)  # not a virtual environment's link to it
    code = memory_file("studios-code", os.fsencode(CODE))
    try:
        with _read_only(os.path.dirname(program)) as folder:
            return subprocess.Popen(
                [
                    *(program, "-I", "-S", "-c", _BOOT.format(module=module)),
                    *map(str, (code, *arguments)),
                ],
                executable=f"/proc/self/fd/{folder}/{os.path.basename(program)}",
                pass_fds=(code, *arguments, *passed, folder),
                env={},
                cwd="/",
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                start_new_session=True,
            )
    finally:
        os.close(code)


@contextlib.contextmanager
def _read_only(folder: str) -> Iterator[int]:
    """Give a descriptor of `folder` on a mount that nobody can write to."""
    fd = kernel.clone_mount(folder, recursive=False)
    try:
        kernel.set_mount_attributes(fd, attributes=kernel.MOUNT_ATTR_RDONLY, recursive=False)
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _children_in_new_pid_namespace() -> Iterator[None]:
    """Start the next child as the first process of a new pid namespace.

    No other work, and no other thread of this one, may start in between.
    """
    assert threading.current_thread() is threading.main_thread()
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        kernel.unshare(kernel.CLONE_NEWPID)
        try:
            yield
        finally:
            kernel.enter_namespace(own, kernel.CLONE_NEWPID)
    finally:
        os.close(own)


def _pipe() -> tuple[int, int]:
    read, write = os.pipe2(os.O_CLOEXEC)
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return read, write
