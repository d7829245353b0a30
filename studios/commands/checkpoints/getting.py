"""`restore` and `restore-file`: back out of a checkpoint."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from checkpoints.reading.content import find_file, path_from, read_content
from checkpoints.reading.failures import IsLinkError, NotEmptyError
from checkpoints.reading.restore import restore
from checkpoints.reading.selection import select
from studios.commands.checkpoints.bars import bar
from studios.commands.checkpoints.opening import (
    WorkDirectory,
    checkpoint_argument,
    opened,
    work_directory_option,
)
from studios.commands.checkpoints.shown import show_bytes, show_loss, text
from studios.commands.options import awaited
from studios.failures import CommandError
from studios.output import format_option, print_json, printable
from studios.surroundings import Surroundings, pass_surroundings

if TYPE_CHECKING:
    from checkpoints.chunk_source import ChunkSource
    from checkpoints.reading.progress import Progress
    from checkpoints.tree.entry import Entry


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """Something that could not be restored, for scripts."""

    path: str
    names: int
    reason: str


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What `restore` prints for scripts."""

    checkpoint_id: str
    generation: int
    entries: int
    file_bytes: int
    left_out: tuple[LeftOut, ...]


@click.command("restore")
@checkpoint_argument
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--keep-going", is_flag=True, help="Leave out files that are damaged, and list them.")
@click.option("--into-existing", is_flag=True, help="Also if the folder isn't empty.")
@work_directory_option
@format_option
@pass_surroundings
@awaited
async def restore_command(
    surroundings: Surroundings,
    *,
    checkpoint: str,
    folder: Path,
    keep_going: bool,
    into_existing: bool,
    work_directory: WorkDirectory,
    output: str,
) -> None:
    """Make in FOLDER everything that a checkpoint has, as the upper layer of an overlay.

    What was deleted is a character device 0:0 there. Needs the rights of root.
    """
    if work_directory.has_checkpoints_around(folder):
        raise CommandError(
            f"{folder} is where {work_directory.url} keeps its checkpoints: give another folder."
        )
    hint = "" if keep_going else "`--keep-going`, into another folder, restores what can be; "
    async with opened(surroundings, work_directory, if_damaged=hint) as repository:
        record = await select(repository, checkpoint)
        assert record.tree is not None
        with bar(surroundings.err, "Restoring", record.tree.bytes, is_bytes=True) as note:

            def report(progress: Progress) -> None:
                note(progress.file_bytes)

            try:
                done = await restore(
                    repository,
                    record,
                    folder,
                    keep_going=keep_going,
                    into_existing=into_existing,
                    report=report,
                )
            except (NotEmptyError, IsLinkError):
                raise  # nothing was done
            except BaseException:
                surroundings.say(f"{folder} is incomplete: remove it before you try again.")
                raise
    if output == "json":
        print_json(
            surroundings.out,
            Report(
                checkpoint_id=record.checkpoint_id,
                generation=record.generation,
                entries=done.entries,
                file_bytes=done.file_bytes,
                left_out=tuple(
                    LeftOut(path=text(loss.path), names=loss.names, reason=loss.reason)
                    for loss in done.damages
                ),
            ),
        )
    for loss in done.damages:
        surroundings.say(f"Left out: {show_loss(loss)}: {printable(loss.reason)}")
    left_out = sum(not loss.names for loss in done.damages)
    size = "" if done.damages else f", {show_bytes(done.file_bytes)},"
    surroundings.say(
        f"Restored {done.entries - left_out} entries{size} of {record.place} to {folder}."
    )
    if done.damages:
        raise click.exceptions.Exit(1)


@click.command("restore-file")
@checkpoint_argument
@click.argument("path")
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to; else the file's name, in this folder.",
)
@work_directory_option
@pass_surroundings
@awaited
async def restore_file(
    surroundings: Surroundings,
    *,
    checkpoint: str,
    path: str,
    target: Path | None,
    work_directory: WorkDirectory,
) -> None:
    """Get one file back: its content, mode and time. Only its own chunks are read."""
    async with opened(surroundings, work_directory) as repository:
        wanted = path_from(path)
        record = await select(repository, checkpoint)
        source = await repository.chunks(record)
        entry = await asyncio.to_thread(find_file, repository.tree(record, source), wanted)
        place = target or Path(os.fsdecode(wanted.rpartition(b"/")[2]))
        await _write(place, source, entry)
    surroundings.say(f"Restored {place} ({show_bytes(entry.size_bytes)}) of {record.place}.")


async def _write(place: Path, source: ChunkSource, entry: Entry) -> None:
    """Make a file that wasn't there; leave none if it can't be had as a whole."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        fd = await asyncio.to_thread(os.open, place, flags, 0o600)
    except FileExistsError:
        raise CommandError(f"{place} exists: give another name with --to.") from None
    try:
        offset = 0
        async for piece in read_content(source, entry):
            if isinstance(piece, bytes):
                await asyncio.to_thread(os.pwrite, fd, piece, offset)
            offset += len(piece) if isinstance(piece, bytes) else piece
        os.truncate(fd, entry.size_bytes)
        os.fchmod(fd, entry.mode & 0o777)
        os.utime(fd, ns=(entry.modified_ns, entry.modified_ns))
    except BaseException:
        await asyncio.to_thread(place.unlink)
        raise
    finally:
        os.close(fd)
