"""Starts the program of an order on the ground, with pipes or a terminal of its own."""

from __future__ import annotations

import os
import termios
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.parts import EnteredProgram, Entrance
    from common.exec.messages import Order


@dataclass(frozen=True, slots=True)
class Started:
    """A program and this side of its streams, whose owner is whoever gets this.

    With a terminal `output_fd` is that, and it is written to as well; `input_fd` is then the same.
    """

    program: EnteredProgram
    input_fd: int | None
    output_fd: int
    error_fd: int | None

    @property
    def is_terminal(self) -> bool:
        return self.program.terminal_fd is not None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a program gets that its order doesn't say."""

    environment: Mapping[str, str]
    working_directory: str


async def start(ground: Entrance, order: Order, usual: Surroundings) -> Started:
    """Start the program of an order that isn't detached; raise CannotStartError."""
    if order.terminal is not None:
        size = order.terminal.rows, order.terminal.columns
        program = await ground.enter(*_what(order, usual), streams=None, terminal_size=size)
        assert program.terminal_fd is not None
        fd = program.terminal_fd
        return Started(program, fd if order.stdin else None, fd, None)
    with ExitStack() as ours, ExitStack() as theirs:
        given, input_fd = _null(theirs), None
        if order.stdin:
            given, input_fd = _pipe(theirs, ours)
        output_fd, printed = _pipe(ours, theirs)
        error_fd, complained = _pipe(ours, theirs)
        streams = (given, printed, complained)
        program = await ground.enter(*_what(order, usual), streams=streams)
        ours.pop_all()
    return Started(program, input_fd, output_fd, error_fd)


async def start_detached(ground: Entrance, order: Order, usual: Surroundings) -> int:
    """Start a program that goes on without us and return its pid; raise CannotStartError."""
    with ExitStack() as closing:
        null = _null(closing)
        program = await ground.enter(
            *_what(order, usual), streams=(null, null, null), outlives_agent=True
        )
    pid = program.pid
    await program.close()
    return pid


def resize(terminal_fd: int, rows: int, columns: int) -> None:
    """Set a terminal's size; the kernel tells its programs by SIGWINCH."""
    termios.tcsetwinsize(terminal_fd, (rows, columns))


def _what(order: Order, usual: Surroundings) -> tuple[list[str], dict[str, str], str]:
    """Return arguments, environment and working directory; bytes become text as paths do."""
    environment = dict(usual.environment)
    for variable in order.environment:
        name, _, value = os.fsdecode(variable).partition("=")
        environment[name] = value
    if order.terminal is not None:
        environment["TERM"] = order.terminal.type
    folder = order.working_directory
    return (
        [os.fsdecode(word) for word in order.arguments],
        environment,
        usual.working_directory if folder is None else os.fsdecode(folder),
    )


def _null(closing: ExitStack) -> int:
    fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    closing.callback(os.close, fd)
    return fd


def _pipe(read_owner: ExitStack, write_owner: ExitStack) -> tuple[int, int]:
    read, write = os.pipe2(os.O_CLOEXEC)
    read_owner.callback(os.close, read)
    write_owner.callback(os.close, write)
    return read, write
