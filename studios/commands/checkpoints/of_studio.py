"""`list`, `save`, `rename`, `start-as-new`: a Studio's checkpoints, by the control plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from studios import saved
from studios.commands.checkpoints.shown import counted, show_bytes
from studios.commands.lifecycle import show_result
from studios.commands.options import awaited, studio_argument, wait_if_asked, wait_options
from studios.failures import CommandError, WaitTimeoutError
from studios.names import LATEST, latest
from studios.output import format_option, print_json, print_table, printable, show_time
from studios.shapes import CheckpointPage, NewStudio
from studios.surroundings import Surroundings, pass_surroundings
from studios.waiting import TIMEOUT_SECONDS

if TYPE_CHECKING:
    from studios.client import Client
    from studios.shapes import Checkpoint, Studio

POLL_SECONDS = 0.5  # saving takes tenths of seconds to minutes; agents report every 10 s or at once

of_studio_argument = click.argument("checkpoint", metavar="CHECKPOINT")
"""A checkpoint's name or number, or `latest`."""


@click.command("list")
@studio_argument
@click.option(
    "--search",
    default="",
    metavar="TEXT",
    help="Only those that match: text, status:, before:, after:, author:.",
)
@format_option
@pass_surroundings
@awaited
async def list_command(surroundings: Surroundings, name: str, search: str, output: str) -> None:
    """List what a Studio's sessions saved, newest first, and how long ago."""
    async with surroundings.client() as client:
        studio = await client.find(name)
        found = await client.checkpoints(studio.session_id, search)
    if output == "json":
        page = CheckpointPage(checkpoints=tuple(found), total_size=len(found))
        print_json(surroundings.out, page)
        return
    if not found:
        surroundings.say(
            "No checkpoint matches."
            if search
            else f"Nothing of {studio.name} was saved yet: its first session begins a checkpoint."
        )
        return
    now, newest = surroundings.clock.now(), None if search else latest(found)
    print_table(
        surroundings.out,
        ("ID", "NAME", "STATUS", "SAVED", "SIZE", "FILES", "AUTHOR", ""),
        (
            (
                str(each.id),
                each.name,
                _status(each, studio),
                saved.age(each, now),
                show_bytes(each.size) if each.generation else "",
                str(each.entries) if each.generation else "",
                each.author.user_name,
                LATEST if each is newest else "",
            )
            for each in found
        ),
    )
    for each in found:
        if each.message:
            surroundings.say(f"{printable(each.name)}: {printable(saved.sentence(each.message))}")


def _status(checkpoint: Checkpoint, studio: Studio) -> str:
    if checkpoint.saving:
        return "saving"
    is_current = (under_way := saved.current(studio)) is not None and under_way.id == checkpoint.id
    return "in use" if is_current and checkpoint.status != "finalized" else checkpoint.status


@click.command("save")
@studio_argument
@click.option("--no-wait", is_flag=True, help="Return as soon as it is asked for.")
@click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(min=0.0),
    default=TIMEOUT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="Give up waiting after this time, with exit code 6.",
)
@format_option
@pass_surroundings
@awaited
async def save_command(
    surroundings: Surroundings, *, name: str, no_wait: bool, timeout_seconds: float, output: str
) -> None:
    """Save a running Studio's files as they are now, and wait until they are safe."""
    async with surroundings.client() as client:
        studio = await client.find(name)
        checkpoint = await client.save_now(studio.session_id)
        if not no_wait:
            checkpoint = await _saved(surroundings, client, studio, checkpoint, timeout_seconds)
    if output == "json":
        print_json(surroundings.out, checkpoint)
    elif no_wait:
        surroundings.say(
            f"{studio.name} is being saved: `studios view {studio.session_id}` says how far it is."
        )
    else:
        what = f"{counted(checkpoint.entries, 'file or folder', 'files and folders')}"
        surroundings.out.print(
            f"Saved: {what}, {show_bytes(checkpoint.size)}, in {printable(checkpoint.name)}. It "
            f"holds all that was there at {show_time(checkpoint.date_saved)} UTC.",
            soft_wrap=True,
        )


async def _saved(
    surroundings: Surroundings,
    client: Client,
    studio: Studio,
    asked: Checkpoint,
    timeout_seconds: float,
) -> Checkpoint:
    """Return the checkpoint once it holds what was there when it was asked for."""
    clock = surroundings.clock
    began, said = clock.monotonic(), asked.message
    while True:
        studio = await client.studio(studio.session_id)
        now = studio.checkpoint
        if now is not None and now.id == asked.id:
            is_newer = now.date_saved is not None and (
                asked.date_saved is None or now.date_saved > asked.date_saved
            )
            # a session that is over answers nobody: it has saved all, or nobody knows since when
            is_answered = not now.saving and saved.current(studio) is not None
            if is_newer and (is_answered or now.status == "finalized"):
                return now
            if now.message and now.message != said:
                said = now.message
                surroundings.say(
                    f"Not saved yet: {printable(saved.sentence(said))} It is tried again by itself."
                )
        if saved.current(studio) is None:
            raise CommandError(
                f"{studio.name} ended before it was saved once more: `studios checkpoints list "
                f"{studio.session_id}` says what is safe."
            )
        if clock.monotonic() - began >= timeout_seconds:
            raise WaitTimeoutError(
                f"{studio.name} is not saved after {timeout_seconds:.0f} s, and is still being "
                f"saved: look again with `studios view {studio.session_id}`."
            )
        await clock.sleep(POLL_SECONDS)


@click.command("rename")
@studio_argument
@of_studio_argument
@click.argument("new_name", metavar="NEW_NAME")
@format_option
@pass_surroundings
@awaited
async def rename_command(
    surroundings: Surroundings, *, name: str, checkpoint: str, new_name: str, output: str
) -> None:
    """Call a checkpoint something else. Spaces become underscores."""
    async with surroundings.client() as client:
        studio = await client.find(name)
        found = await client.find_checkpoint(studio, checkpoint)
        renamed = await client.rename_checkpoint(studio.session_id, found.id, new_name)
    if output == "json":
        print_json(surroundings.out, renamed)
    else:
        surroundings.say(f"{printable(found.name)} is {printable(renamed.name)} now.")


@click.command("start-as-new")
@studio_argument
@click.argument("new_name", metavar="NEW_STUDIO")
@click.option(
    "--checkpoint",
    "wanted",
    default=LATEST,
    show_default=True,
    help="Name or number of the one to begin with.",
)
@click.option("--description", default="", help="What it is for.")
@click.option("--private", is_flag=True, help="Only you may connect.")
@click.option("--no-start", is_flag=True, help="Only add it.")
@wait_options("starting", "running")
@format_option
@pass_surroundings
@awaited
async def start_as_new(
    surroundings: Surroundings,
    *,
    name: str,
    new_name: str,
    wanted: str,
    description: str,
    private: bool,
    no_start: bool,
    wait: str | None,
    timeout_seconds: float,
    output: str,
) -> None:
    """Start another Studio with the files, the tool and the place of this one."""
    if no_start and wait:
        raise click.UsageError("--no-start and --wait don't go together.")
    async with surroundings.client() as client:
        source = await client.find(name)
        found = await client.find_checkpoint(source, wanted)
        new = NewStudio(
            name=new_name,
            compute_env_id=source.compute_env.id if source.compute_env else "",
            description=description,
            is_private=private,
            initial_checkpoint_id=found.id,
        )
        studio = await client.create(new, auto_start=not no_start)
        studio = await wait_if_asked(surroundings, client, studio, wait, timeout_seconds)
    show_result(surroundings, studio, output)
