"""`exec`: a command in a running session."""

from __future__ import annotations

import os
import re
import sys

import click
import msgspec

from common.exec.messages import Order
from studios.commands.options import studio_argument
from studios.exec import connection
from studios.exec.session import Session, Streams
from studios.exec.terminal import PersonsTerminal, is_terminal
from studios.failures import CommandError
from studios.output import show_status
from studios.surroundings import Surroundings, pass_surroundings, run

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=[^\0]*", re.ASCII | re.DOTALL)
_HAS_SESSION = ("starting", "running", "stopping")
_STDIN = 0
_CODE_MAX = 255


@click.command(
    name="exec",
    context_settings={"allow_interspersed_args": False},
    options_metavar="[-i] [-t] [OPTIONS]",
)
@click.option("-i", "--stdin", is_flag=True, help="Give the command this standard input.")
@click.option(
    "-t", "--tty", is_flag=True, help="Give it a terminal of its own, and this one's keys."
)
@click.option(
    "-d", "--detach", is_flag=True, help="Start it, print its pid and return; it goes on unheard."
)
@click.option(
    "-w", "--workdir", metavar="PATH", help="Where it runs.  [default: the tool's folder]"
)
@click.option(
    "-e",
    "--env",
    "environment",
    multiple=True,
    metavar="NAME=VALUE",
    help="A variable besides those of the tool; may be repeated.",
)
@click.option(
    "--failure-code",
    type=click.IntRange(min=1, max=_CODE_MAX),
    metavar="N",
    help="Exit with N whenever it is studios that fails, and not the command.",
)
@studio_argument
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND [ARGUMENT]...")
@pass_surroundings
def exec_command(
    surroundings: Surroundings,
    *,
    name: str,
    command: tuple[str, ...],
    stdin: bool,
    tty: bool,
    detach: bool,
    workdir: str | None,
    environment: tuple[str, ...],
    failure_code: int | None,
) -> None:
    r"""Run a command in a session, beside its tool, and exit with the command's own code.

    \b
    studios exec demo -- nproc
    studios exec -it demo -- bash
    studios exec -i demo -- tar -x < files.tar

    A signal that ends the command gives 128 and its number, a command that isn't there 127. What
    fails on this side prints a line that begins with “Error:” and exits as other commands do, or
    with --failure-code.
    """
    if detach and (tty or stdin):
        raise click.UsageError(
            "What is detached has no input and no terminal: leave out -i and -t."
        )
    if tty and not is_terminal(_STDIN):
        raise click.UsageError("-t needs a terminal on standard input, and this is none: use -i.")
    order = Order(
        arguments=_words(command),
        stdin=stdin or tty,
        terminal=None,
        detach=detach,
        environment=tuple(map(_variable, environment)),
        working_directory=None if workdir is None else os.fsencode(workdir),
    )
    try:
        code = run(lambda: _run(surroundings, name, order, tty=tty))
    except CommandError as error:
        if failure_code is None:
            raise
        click.echo(f"Error: {surroundings.as_typed(error.message)}", err=True)
        code = failure_code
    sys.exit(code)


async def _run(surroundings: Surroundings, name: str, order: Order, *, tty: bool) -> int:
    terminal = PersonsTerminal(_STDIN) if tty else None
    if terminal is not None:
        asked = terminal.order(surroundings.settings.terminal_type)
        order = msgspec.structs.replace(order, terminal=asked)
    async with surroundings.client() as client:
        studio = await client.find(name)
        if studio.status not in _HAS_SESSION:
            raise CommandError(
                f"{studio.name} is {show_status(studio.status)}: start it with "
                f"`studios start {studio.session_id}`."
            )
        url, token = await client.exec_grant(studio)
    async with connection.dial(url, token) as dialled:
        session = Session(
            dialled, order, streams=Streams(), terminal=terminal, clock=surroundings.clock
        )
        if not order.detach:
            return await session.run()
        click.echo(await session.start_detached())
        return 0


def _words(command: tuple[str, ...]) -> tuple[bytes, ...]:
    """Return the command line; `--` may stand before it."""
    words = command[1:] if command[0] == "--" else command
    if not words or not words[0]:
        raise click.UsageError("Say which command to run, after --.")
    if words[0].startswith("-"):
        raise click.UsageError(f"{words[0]} is no command: options go before the Studio's name.")
    return tuple(map(os.fsencode, words))


def _variable(assignment: str) -> bytes:
    if not _VARIABLE.fullmatch(assignment):
        raise click.UsageError(f"--env {assignment!r} is not NAME=VALUE.")
    return os.fsencode(assignment)
