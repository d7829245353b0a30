"""`export` and `import`: checkpoints as layers of OCI images, and such layers as checkpoints."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from checkpoints.format.ids import new_checkpoint_id
from checkpoints.reading.export import MEDIA_TYPE, export_layer
from checkpoints.reading.selection import select
from checkpoints.reading.unpacking import unpack_layer
from checkpoints.writing.writer import Writer
from studios.commands.checkpoints.bars import bar
from studios.commands.checkpoints.opening import (
    WorkDirectory,
    checkpoint_argument,
    opened,
    single_writer_option,
    work_directory_option,
)
from studios.commands.checkpoints.shown import show_bytes, shown_path, text
from studios.commands.checkpoints.writing import BY_HAND, say_written
from studios.commands.options import awaited
from studios.failures import CommandError
from studios.output import format_option, print_json, print_sheet, printable
from studios.surroundings import Surroundings, pass_surroundings

if TYPE_CHECKING:
    from checkpoints.reading.progress import Progress
    from checkpoints.writing.capture import Progress as Written
    from studios.commands.checkpoints.bars import Note


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a layer can't tell, for scripts."""

    path: str
    what: str


class Layer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What an image's manifest and configuration say about a layer."""

    media_type: str
    digest: str
    size: int
    diff_id: str
    left_out: tuple[LeftOut, ...]


@click.command("export")
@checkpoint_argument
@click.argument("file", type=click.Path(path_type=Path))
@work_directory_option
@format_option
@pass_surroundings
@awaited
async def export_command(
    surroundings: Surroundings,
    *,
    checkpoint: str,
    file: Path,
    work_directory: WorkDirectory,
    output: str,
) -> None:
    """Write a checkpoint to FILE as the layer of an OCI image: tar, compressed with zstd."""
    async with opened(surroundings, work_directory) as repository:
        record = await select(repository, checkpoint)
        assert record.tree is not None
        try:
            stream = await asyncio.to_thread(file.open, "xb")
        except FileExistsError:
            raise CommandError(f"{file} exists: give another name.") from None
        try:
            with (
                stream,
                bar(surroundings.err, "Exporting", record.tree.bytes, is_bytes=True) as note,
            ):

                def report(progress: Progress) -> None:
                    note(progress.file_bytes)

                done = await export_layer(repository, record, stream, report=report)
        except OSError as error:
            await asyncio.to_thread(file.unlink)
            raise CommandError(
                f"{printable(str(file))} can't be written: {error.strerror}. Give another place."
            ) from error
        except BaseException:
            await asyncio.to_thread(file.unlink)
            raise
    for left in done.left_out:
        surroundings.say(f"Left out: /{shown_path(left.path)}: {printable(left.what)}.")
    layer = Layer(
        media_type=MEDIA_TYPE,
        digest=done.digest,
        size=done.size_bytes,
        diff_id=done.diff_id,
        left_out=tuple(LeftOut(path=text(left.path), what=left.what) for left in done.left_out),
    )
    if output == "json":
        print_json(surroundings.out, layer)
        return
    print_sheet(
        surroundings.out,
        (
            ("Media type", layer.media_type),
            ("Digest", layer.digest),
            ("Size", f"{layer.size} ({show_bytes(layer.size)})"),
            ("Diff id", layer.diff_id),
        ),
    )


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--image", default="", metavar="DIGEST", help="Which image the layer belongs on.")
@single_writer_option
@work_directory_option
@format_option
@pass_surroundings
@awaited
async def import_command(
    surroundings: Surroundings,
    *,
    file: Path,
    image: str,
    single_writer: bool,
    work_directory: WorkDirectory,
    output: str,
) -> None:
    """Make a checkpoint of the layer of an OCI image: tar, plain or compressed (gzip, zstd).

    Prints its id. Needs room for the layer's files in the folder for temporary files (TMPDIR); and
    the rights of root, if the layer has files of others, attributes, or devices.
    """
    async with opened(
        surroundings, work_directory, create=True, single_writer=single_writer
    ) as repository:
        with tempfile.TemporaryDirectory(prefix="studios-import-") as scratch:
            folder = Path(scratch) / "layer"
            folder.mkdir(mode=0o755)
            size = await asyncio.to_thread(lambda: file.stat().st_size)
            with bar(surroundings.err, "Unpacking", size, is_bytes=True) as note:
                entries = await asyncio.to_thread(_unpack, file, folder, note)
            writer = await Writer.open(
                repository, new_checkpoint_id(repository.rng), run_number=BY_HAND, image=image
            )
            with bar(surroundings.err, "Writing", entries) as note:

                def progress(state: Written) -> None:
                    note(state.entries)

                record = await writer.write(folder, final=True, progress=progress)
    say_written(surroundings, record, output)


def _unpack(file: Path, folder: Path, note: Note) -> int:
    with file.open("rb") as stream:
        return unpack_layer(stream, folder, report=lambda _: note(stream.raw.tell()))
