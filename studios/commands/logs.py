"""`logs`: what the tool and its agent wrote, straight from the session through the edge."""

from __future__ import annotations

import sys

import click

from studios.commands.options import awaited, studio_argument
from studios.surroundings import Surroundings, pass_surroundings

TAIL_LINES = 200
_TAIL_LINES_MAX = 100_000


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
    """Show a session's log."""
    async with surroundings.client() as client:
        studio = await client.find(name)
        async with client.log(studio, tail=tail, follow=follow) as pieces:
            stdout = sys.stdout.buffer
            async for piece in pieces:
                stdout.write(piece)
                stdout.flush()
