"""`logs`: what the tool and its agent wrote.

While there is a session it comes straight from there, through the edge; later from what the control
plane can still get at, which at the least is the last lines that the session reported.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from studios.commands.options import awaited, studio_argument
from studios.failures import CommandError
from studios.output import show_status
from studios.surroundings import Surroundings, pass_surroundings

if TYPE_CHECKING:
    from studios.shapes import Studio

TAIL_LINES = 200
_TAIL_LINES_MAX = 10_000
_HAS_AGENT = ("starting", "running", "stopping")


@click.command()
@studio_argument
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are written, until Ctrl-C.")
@click.option(
    "--tail",
    type=click.IntRange(min=0, max=_TAIL_LINES_MAX),
    default=TAIL_LINES,
    show_default=True,
    metavar="N",
    help="Begin with the last N lines.",
)
@pass_surroundings
@awaited
async def logs(surroundings: Surroundings, name: str, *, follow: bool, tail: int) -> None:
    """Show a session's log; of one that is over, what was kept of it."""
    async with surroundings.client() as client:
        studio = await client.find(name)
        if studio.status not in _HAS_AGENT:
            kept = await client.kept_log(studio, tail=tail)
            if kept:
                surroundings.say(f"{studio.name} is {show_status(studio.status)}; this is its log.")
                sys.stdout.buffer.write(kept)
            else:
                _show_last_lines(surroundings, studio)
            return
        async with client.log(studio, tail=tail, follow=follow) as pieces:
            stdout = sys.stdout.buffer
            async for piece in pieces:
                stdout.write(piece)
                stdout.flush()


def _show_last_lines(surroundings: Surroundings, studio: Studio) -> None:
    status = show_status(studio.status)
    if studio.tool is None or not studio.tool.last_lines:
        raise CommandError(
            f"{studio.name} is {status}, and left no log: start it with "
            f"`studios start {studio.session_id}`."
        )
    surroundings.say(f"{studio.name} is {status}; these are the last lines it reported.")
    for line in studio.tool.last_lines:
        surroundings.out.print(line, soft_wrap=True)
