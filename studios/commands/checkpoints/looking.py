"""`scan`, `ls`, `cat`, `diff` and `stats`: what is there."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click
import msgspec

from checkpoints.reading.content import find, find_file, path_from, read_content
from checkpoints.reading.selection import select
from checkpoints.reading.stats import measure
from checkpoints.tree.diff import Difference, diff
from checkpoints.tree.entry import Kind
from checkpoints.tree.keys import path_of
from studios.commands.checkpoints.bars import bar
from studios.commands.checkpoints.opening import (
    WorkDirectory,
    checkpoint_argument,
    opened,
    work_directory_option,
)
from studios.commands.checkpoints.shown import Shown, row, show, show_bytes, text
from studios.commands.checkpoints.streams import print_all
from studios.commands.options import awaited
from studios.output import format_option, print_json, print_table
from studios.surroundings import Surroundings, pass_surroundings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checkpoints.format.record import Record
    from checkpoints.repository import Records
    from checkpoints.tree.entry import Entry
    from checkpoints.tree.tree import Tree

_ENTRY_COLUMNS = (("MODE", 10), ("OWNER", 9), ("SIZE", 10), ("MODIFIED (UTC)", 19), ("NAME", 0))
_CHANGE_COLUMNS = (("", 1), ("SIZE", 10), ("PATH", 0))
_MARKS = {"added": "+", "removed": "-", "changed": "±"}
_ZEROS = bytes(1 << 20)


class Scanned(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One checkpoint as `scan` sees it."""

    checkpoint_id: str
    status: str
    generations: tuple[int, ...]
    latest: str
    entries: int
    file_bytes: int
    image: str
    parent: str
    damaged: tuple[str, ...]


@click.command()
@work_directory_option
@format_option
@pass_surroundings
@awaited
async def scan(surroundings: Surroundings, *, work_directory: WorkDirectory, output: str) -> None:
    """List the checkpoints that a work directory holds, with the generations that are kept."""
    async with opened(surroundings, work_directory) as repository:
        found = [
            _scanned(checkpoint_id, await repository.records(checkpoint_id))
            for checkpoint_id in sorted(await repository.checkpoints())
        ]
    if output == "json":
        print_json(surroundings.out, found)
        return
    if not found:
        surroundings.say("There are no checkpoints in this work directory.")
        return
    print_table(
        surroundings.out,
        ("CHECKPOINT", "STATUS", "GENERATIONS", "LATEST (UTC)", "ENTRIES", "SIZE", "DAMAGED"),
        (
            (
                each.checkpoint_id,
                each.status,
                ", ".join(map(str, each.generations)),
                each.latest.replace("T", " ")[:19],
                str(each.entries),
                show_bytes(each.file_bytes),
                ", ".join(each.damaged),
            )
            for each in found
        ),
    )


def _scanned(checkpoint_id: str, records: Records) -> Scanned:
    newest = records.newest
    tree = newest.tree if newest else None
    return Scanned(
        checkpoint_id=checkpoint_id,
        status=_status(records),
        generations=tuple(record.generation for record in records.generations),
        latest=newest.created_at.isoformat() if newest else "",
        entries=tree.entries if tree else 0,
        file_bytes=tree.bytes if tree else 0,
        image=newest.image if newest else "",
        parent=str(newest.parent.place) if newest and newest.parent else "",
        damaged=tuple(damage.key for damage in records.damaged),
    )


def _status(records: Records) -> str:
    if records.is_deleted:
        return "deleted"
    if records.newest is None:
        return "invalid" if records.damaged else "empty"
    if records.newest.final:
        return "finalized"
    return "sealed" if any(record.kind == "seal" for record in records.found) else "interim"


@click.command()
@checkpoint_argument
@click.argument("path", default="/")
@click.option("-R", "--recursive", is_flag=True, help="With all that is below.")
@work_directory_option
@format_option
@pass_surroundings
@awaited
async def ls(
    surroundings: Surroundings,
    *,
    checkpoint: str,
    path: str,
    recursive: bool,
    work_directory: WorkDirectory,
    output: str,
) -> None:
    """List what a checkpoint has of a folder: what was changed, not what the image has."""
    async with opened(surroundings, work_directory) as repository:
        record = await select(repository, checkpoint)
        tree = repository.tree(record, await repository.chunks(record))
        await print_all(
            surroundings.out,
            output,
            _listed(tree, path_from(path), recursive=recursive),
            columns=_ENTRY_COLUMNS,
            row=lambda found: row(*found),
            item=lambda found: show(*found),
        )


def _listed(tree: Tree, path: bytes, *, recursive: bool) -> Iterator[tuple[bytes, Entry]]:
    entry = find(tree, path)
    if entry.kind is not Kind.FOLDER:
        yield path, entry
    elif recursive:
        yield from ((path_of(key), found) for key, found in tree.walk(path))
    else:
        yield from tree.listing(path)


@click.command()
@checkpoint_argument
@click.argument("path")
@work_directory_option
@pass_surroundings
@awaited
async def cat(
    surroundings: Surroundings, *, checkpoint: str, path: str, work_directory: WorkDirectory
) -> None:
    """Print a file of a checkpoint. Only its own chunks are read."""
    stream = sys.stdout.buffer
    async with opened(surroundings, work_directory) as repository:
        record = await select(repository, checkpoint)
        source = await repository.chunks(record)
        tree = repository.tree(record, source)
        entry = await asyncio.to_thread(find_file, tree, path_from(path))
        async for piece in read_content(source, entry):
            if isinstance(piece, bytes):
                await asyncio.to_thread(stream.write, piece)
            else:
                for start in range(0, piece, len(_ZEROS)):
                    await asyncio.to_thread(stream.write, _ZEROS[: piece - start])
        stream.flush()


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One path that two generations don't have in common."""

    path: str
    change: str
    before: Shown | None
    after: Shown | None


@click.command("diff")
@click.argument("before", metavar="CHECKPOINT")
@click.argument("after", metavar="CHECKPOINT")
@work_directory_option
@format_option
@pass_surroundings
@awaited
async def diff_command(
    surroundings: Surroundings,
    *,
    before: str,
    after: str,
    work_directory: WorkDirectory,
    output: str,
) -> None:
    """List the paths in which two generations differ: + new, - gone, ± changed."""
    async with opened(surroundings, work_directory) as repository:

        async def tree_of(record: Record) -> Tree:
            return repository.tree(record, await repository.chunks(record))

        trees = [await tree_of(await select(repository, name)) for name in (before, after)]
        count = await print_all(
            surroundings.out,
            output,
            (_change(difference) for difference in diff(*trees)),
            columns=_CHANGE_COLUMNS,
            row=lambda change: (
                _MARKS[change.change],
                show_bytes(change.after.size) if change.after else "",
                change.path or "/",
            ),
            item=lambda change: change,
        )
    if not count:
        surroundings.say("Nothing differs.")


def _change(difference: Difference) -> Change:
    path = path_of(difference.key)
    before, after = difference.before, difference.after
    return Change(
        path=text(path),
        change="added" if before is None else "removed" if after is None else "changed",
        before=show(path, before) if before else None,
        after=show(path, after) if after else None,
    )


@click.command()
@work_directory_option
@format_option
@pass_surroundings
@awaited
async def stats(surroundings: Surroundings, *, work_directory: WorkDirectory, output: str) -> None:
    """Say what checkpoints share, and what deleting each of them would free."""
    async with opened(surroundings, work_directory) as repository:
        with bar(surroundings.err, "Reading trees", None) as note:
            found = await measure(repository, report=note)
    if output == "json":
        print_json(surroundings.out, found)
        return
    print_table(
        surroundings.out,
        ("CHECKPOINT", "GENERATIONS", "ENTRIES", "SIZE", "ITS OWN", "SHARED", "PROBLEM"),
        (
            (
                each.checkpoint_id,
                str(each.generations),
                str(each.entries),
                show_bytes(each.file_bytes),
                show_bytes(each.own_bytes),
                show_bytes(each.shared_bytes),
                each.problem,
            )
            for each in found.checkpoints
        ),
    )
    surroundings.say(
        f"{show_bytes(found.stored_bytes)} are stored in {found.packs} packs; "
        f"{show_bytes(found.needed_bytes)} of them are needed."
    )
