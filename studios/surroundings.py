"""What every command gets from outside: settings, clock, randomness and the terminal.

Tests hand in their own through click's `obj`; otherwise it is made from the environment once.
Data goes to standard output, everything said about it (phases, hints, errors) to standard error,
so that output can be piped while a person watches.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console

from common.clock import Clock, SystemClock
from studios import client, config, credentials, invocation
from studios.failures import INTERRUPTED_EXIT_CODE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from studios.client import Client
    from studios.config import Settings

_PIPE_WIDTH = 10_000  # columns: nothing is cut or wrapped where no person looks

T = TypeVar("T")


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


@dataclass(frozen=True, slots=True)
class Surroundings:
    """See the module's docstring."""

    settings: Settings = field(default_factory=config.read)
    clock: Clock = field(default_factory=SystemClock)
    program: str = field(default_factory=invocation.find_program)
    """How the person calls this program."""
    out: Console = field(default_factory=lambda: _console(stderr=False))
    err: Console = field(default_factory=lambda: _console(stderr=True))

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Yield a client for the control plane that the settings lead to."""
        async with client.connect(credentials.find(self.settings)) as found:
            yield found

    def say(self, sentence: str) -> None:
        """Tell the person something that is not data."""
        self.err.print(self.as_typed(sentence), soft_wrap=True)

    def as_typed(self, sentence: str) -> str:
        """Return the sentence with its commands as they work for this person."""
        data_dir = self.settings.data_dir
        return invocation.as_typed(
            sentence,
            program=self.program,
            data_dir=None if data_dir == config.DATA_DIR else data_dir,
        )


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run one command's coroutine; Ctrl-C ends the process quietly."""
    try:
        return asyncio.run(work())
    except KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED_EXIT_CODE) from None


pass_surroundings = click.make_pass_decorator(Surroundings, ensure=True)
