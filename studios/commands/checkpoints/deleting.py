"""`delete`: a Studio's checkpoint, or with `-w` one that a work directory holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from studios.commands.checkpoints.collecting import delete_by_hand
from studios.commands.checkpoints.opening import WorkDirectory, work_directory_option
from studios.commands.checkpoints.shown import counted, show_bytes
from studios.commands.lifecycle import confirm
from studios.commands.options import awaited
from studios.output import format_option, printable, show_time
from studios.surroundings import Surroundings, pass_surroundings

if TYPE_CHECKING:
    from studios.shapes import Checkpoint


@click.command("delete")
@click.argument("what", metavar="[STUDIO] CHECKPOINT", nargs=-1)
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option(
    "--even-if-written",
    is_flag=True,
    help="With -w, also one that a session may be writing to: it can't save anything any more.",
)
@work_directory_option(required=False)
@format_option
@pass_surroundings
@awaited
async def delete_command(
    surroundings: Surroundings,
    *,
    what: tuple[str, ...],
    yes: bool,
    even_if_written: bool,
    work_directory: WorkDirectory | None,
    output: str,
) -> None:
    """Delete a checkpoint with all its generations. There is no way back.

    STUDIO CHECKPOINT is one of a Studio's, by name or number. With -w it is CHECKPOINT alone, an id
    in that work directory: that asks nobody, and a control plane that knows it isn't told. What
    only it needed is freed a day later. Whatever was started from it keeps all it needs.
    """
    match work_directory, what:
        case None, (studio, checkpoint):
            if even_if_written:
                raise click.UsageError("--even-if-written goes with -w.")
            await _delete(surroundings, studio, checkpoint, yes=yes)
        case WorkDirectory(), (checkpoint,):
            await delete_by_hand(
                surroundings,
                checkpoint,
                work_directory,
                even_if_written=even_if_written,
                output=output,
            )
        case None, _:
            raise click.UsageError("Say which: STUDIO CHECKPOINT, or -w URL and a checkpoint's id.")
        case _:
            raise click.UsageError("With -w, say the checkpoint's id alone.")


async def _delete(surroundings: Surroundings, name: str, wanted: str, *, yes: bool) -> None:
    async with surroundings.client() as client:
        studio = await client.find(name)
        found = await client.find_checkpoint(studio, wanted)
        if not yes:
            confirm(f"Delete {printable(found.name)} of {studio.name}{_loss(found)}?")
        await client.delete_checkpoint(studio.session_id, found.id)
    surroundings.say(f"{printable(found.name)} of {studio.name} is deleted.")


def _loss(checkpoint: Checkpoint) -> str:
    if checkpoint.date_saved is None:
        return ", which holds no files"
    what = counted(checkpoint.entries, "file or folder", "files and folders")
    return (
        f" with the files as of {show_time(checkpoint.date_saved)} UTC "
        f"({what}, {show_bytes(checkpoint.size)})"
    )
