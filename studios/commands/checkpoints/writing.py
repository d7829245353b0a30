"""`write`: a folder as a generation, by hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from checkpoints.format.ids import new_checkpoint_id
from checkpoints.reading.selection import NoSuchError, choose_checkpoint
from checkpoints.writing.writer import Writer
from studios.commands.checkpoints.bars import bar
from studios.commands.checkpoints.opening import (
    WorkDirectory,
    opened,
    single_writer_option,
    work_directory_option,
)
from studios.commands.checkpoints.shown import show_bytes, shown_path
from studios.commands.options import awaited
from studios.failures import CommandError
from studios.output import format_option, print_json
from studios.surroundings import Surroundings, pass_surroundings

if TYPE_CHECKING:
    from checkpoints.format.ids import CheckpointId
    from checkpoints.format.record import Record
    from checkpoints.repository import Repository
    from checkpoints.writing.capture import Progress

BY_HAND = 0
"""The run number of what no session writes; theirs begin with 1."""


class Written(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A generation that was committed, for scripts."""

    checkpoint_id: str
    generation: int
    final: bool
    entries: int
    file_bytes: int
    added_bytes: int
    torn: int
    too_long: int

    @classmethod
    def of(cls, record: Record) -> Written:
        assert record.tree is not None
        return cls(
            checkpoint_id=record.checkpoint_id,
            generation=record.generation,
            final=record.final,
            entries=record.tree.entries,
            file_bytes=record.tree.bytes,
            added_bytes=record.added.stored_bytes,
            torn=record.torn,
            too_long=record.too_long,
        )


@click.command("write")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--checkpoint",
    "wanted",
    metavar="ID",
    help="Go on with one that this command began; else it begins a new one.",
)
@click.option("--final", is_flag=True, help="Nothing follows; others may share what is stored.")
@click.option("--image", default="", metavar="DIGEST", help="Which image the folder belongs on.")
@single_writer_option
@work_directory_option
@format_option
@pass_surroundings
@awaited
async def write_command(
    surroundings: Surroundings,
    *,
    folder: Path,
    wanted: str | None,
    final: bool,
    image: str,
    single_writer: bool,
    work_directory: WorkDirectory,
    output: str,
) -> None:
    """Write FOLDER, as it is, as a checkpoint's next generation, and print the checkpoint's id.

    Only what is not stored yet is written. Needs the rights to read all that is in the folder. What
    is mounted below it stays out, as an empty folder.
    """
    if work_directory.is_in(folder):
        raise CommandError(
            f"{work_directory.url} is inside {folder}, and would be stored into itself: "
            "take a work directory elsewhere."
        )
    async with opened(
        surroundings, work_directory, create=wanted is None, single_writer=single_writer
    ) as repository:
        checkpoint_id = await _checkpoint(repository, wanted)
        writer = await Writer.open(repository, checkpoint_id, run_number=BY_HAND, image=image)
        with bar(surroundings.err, "Writing", None) as note:

            def progress(state: Progress) -> None:
                note(state.entries)

            try:
                record = await writer.write(folder, final=final, progress=progress)
            except PermissionError as error:
                where = shown_path(os.fsencode(folder / os.fsdecode(error.filename or "")))
                raise CommandError(
                    f"{where} can't be read: {error.strerror}. Run this as root, who may read all."
                ) from error
    say_written(surroundings, record, output)


def say_written(surroundings: Surroundings, record: Record, output: str) -> None:
    """Print what was committed."""
    written = Written.of(record)
    if output == "json":
        print_json(surroundings.out, written)
        return
    surroundings.out.print(written.checkpoint_id)
    surroundings.say(
        f"Wrote generation {written.generation}: {written.entries} entries, "
        f"{show_bytes(written.file_bytes)}; {show_bytes(written.added_bytes)} of it were new."
    )
    if written.torn:
        surroundings.say(f"{written.torn} files changed while they were read: write again.")
    if written.too_long:
        surroundings.say(
            f"{written.too_long} files or folders were left out with all below: their paths have "
            "more than 4,095 bytes."
        )


async def _checkpoint(repository: Repository, wanted: str | None) -> CheckpointId:
    """Return the checkpoint to write to, unless that is none of ours to write to."""
    if wanted is None:
        return new_checkpoint_id(repository.rng)
    try:
        checkpoint_id = choose_checkpoint(wanted, await repository.checkpoints())
    except NoSuchError as error:
        raise NoSuchError(f"{error} Leave out --checkpoint to begin one.") from None
    records = await repository.records(checkpoint_id)
    if any(record.run_number != BY_HAND for record in records.found):
        raise CommandError(
            f"Checkpoint {checkpoint_id} is a session's, which would be stopped: "
            "leave out --checkpoint to begin another."
        )
    return checkpoint_id
