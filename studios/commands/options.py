"""Arguments and options that several commands share, and what `--wait` does."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from studios.surroundings import run
from studios.waiting import TIMEOUT_SECONDS, phase_view, wait_for_status

if TYPE_CHECKING:
    from studios.client import Client
    from studios.shapes import Studio
    from studios.surroundings import Surroundings

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
R = TypeVar("R")

STATUSES = ("building", "buildFailed", "starting", "running", "stopping", "stopped", "errored")

studio_argument = click.argument("name", metavar="STUDIO")
"""A Studio's name or id."""


def wait_options(*statuses: str) -> Callable[[F], F]:
    """Add `--wait STATUS`, one of those that the command leads to, and `--timeout SECONDS`."""

    def add(command: F) -> F:
        command = click.option(
            "--timeout",
            "timeout_seconds",
            type=click.FloatRange(min=0.0),
            default=TIMEOUT_SECONDS,
            show_default=True,
            metavar="SECONDS",
            help="Give up waiting after this time, with exit code 6.",
        )(command)
        return click.option(
            "--wait",
            type=click.Choice(statuses),
            metavar="STATUS",
            help=f"Return once it has this status: {', '.join(statuses)}.",
        )(command)

    return add


def awaited(command: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """Make a command's coroutine function one that click can call."""

    @wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return run(lambda: command(*args, **kwargs))

    return call


async def wait_if_asked(
    surroundings: Surroundings,
    client: Client,
    studio: Studio,
    wait: str | None,
    timeout_seconds: float,
) -> Studio:
    """Return the Studio once it has the status `--wait` names; at once without it."""
    if wait is None:
        return studio
    return await wait_for_status(
        lambda: client.studio(studio.session_id),
        wait,
        clock=surroundings.clock,
        view=phase_view(surroundings.err),
        timeout_seconds=timeout_seconds,
    )
