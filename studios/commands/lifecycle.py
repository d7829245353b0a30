"""`start`, `stop`, `extend` and `delete`: what one does with one Studio."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from studios.commands.options import awaited, studio_argument, wait_if_asked, wait_options
from studios.failures import CommandError
from studios.output import format_option, print_json, show_status, show_time
from studios.surroundings import Surroundings, pass_surroundings

if TYPE_CHECKING:
    from studios.shapes import Studio


@click.command()
@studio_argument
@wait_options("starting", "running")
@format_option
@pass_surroundings
@awaited
async def start(
    surroundings: Surroundings, name: str, wait: str | None, timeout_seconds: float, output: str
) -> None:
    """Start a Studio's session."""
    async with surroundings.client() as client:
        studio = await client.start((await client.find(name)).session_id)
        studio = await wait_if_asked(surroundings, client, studio, wait, timeout_seconds)
    show_result(surroundings, studio, output)


@click.command()
@studio_argument
@wait_options("stopping", "stopped")
@format_option
@pass_surroundings
@awaited
async def stop(
    surroundings: Surroundings, name: str, wait: str | None, timeout_seconds: float, output: str
) -> None:
    """Stop a Studio's session; the Studio stays."""
    async with surroundings.client() as client:
        studio = await client.stop((await client.find(name)).session_id)
        studio = await wait_if_asked(surroundings, client, studio, wait, timeout_seconds)
    show_result(surroundings, studio, output)


@click.command()
@studio_argument
@format_option
@pass_surroundings
@awaited
async def extend(surroundings: Surroundings, name: str, output: str) -> None:
    """Give a running session its lifespan once more, from now."""
    async with surroundings.client() as client:
        studio = await client.extend((await client.find(name)).session_id)
    if output == "json":
        print_json(surroundings.out, studio)
        return
    end = (
        f"runs until {show_time(studio.deadline)} UTC"
        if studio.deadline
        else "runs on, without end"
    )
    surroundings.out.print(f"{studio.name} ({studio.session_id}) {end}", soft_wrap=True)


@click.command()
@studio_argument
@click.option("--yes", is_flag=True, help="Don't ask.")
@pass_surroundings
@awaited
async def delete(surroundings: Surroundings, name: str, yes: bool) -> None:
    """Delete a Studio and everything in it."""
    async with surroundings.client() as client:
        studio = await client.find(name)
        if not yes:
            confirm(f"Delete {studio.name} ({studio.session_id}) and everything in it?")
        await client.delete(studio.session_id)
    surroundings.say(f"{studio.name} ({studio.session_id}) is deleted.")


def confirm(question: str) -> None:
    """Go on if the person says yes."""
    try:
        click.confirm(question, abort=True, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise CommandError("nobody said yes: use --yes where nobody can be asked.") from None


def show_result(surroundings: Surroundings, studio: Studio, output: str) -> None:
    """Print the Studio after a command changed it."""
    if output == "json":
        print_json(surroundings.out, studio)
        return
    line = f"{studio.name} ({studio.session_id}) is {show_status(studio.status)}"
    if studio.status == "running" and studio.studio_url:
        line += f": {studio.studio_url}"
    surroundings.out.print(line, soft_wrap=True)
