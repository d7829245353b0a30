"""`collect`, and `delete` by hand: what nothing needs any more goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from checkpoints.collecting.busy import StillWrittenError
from checkpoints.collecting.collector import collect, collect_while_nobody_writes
from checkpoints.collecting.deleting import delete_checkpoint
from checkpoints.reading.selection import NoSuchError, choose_checkpoint, parse_selector
from studios.commands.checkpoints.bars import bar
from studios.commands.checkpoints.opening import (
    WorkDirectory,
    opened,
    work_directory_option,
)
from studios.commands.checkpoints.shown import counted, show_bytes
from studios.commands.options import awaited
from studios.failures import CommandError, RefusedError
from studios.output import format_option, print_json, show_time
from studios.surroundings import Surroundings, pass_surroundings

if TYPE_CHECKING:
    from checkpoints.collecting.outcome import Collected, Progress


_DONE = {
    "announce": "Announced",
    "delete": "Deleted",
    "drop": "Dropped",
    "rewrite": "Rewrote",
    "take": "Took",
}


class Deletion(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What `delete` prints for scripts."""

    checkpoint_id: str
    deleted_records: int
    refused: int


@click.command("collect")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option(
    "--while-nobody-writes",
    is_flag=True,
    help="Without the waits of a day that protect sessions: for when surely none is running.",
)
@work_directory_option
@format_option
@pass_surroundings
@awaited
async def collect_command(
    surroundings: Surroundings,
    *,
    dry_run: bool,
    while_nobody_writes: bool,
    work_directory: WorkDirectory,
    output: str,
) -> None:
    """Delete what no kept generation needs, and store better what is kept.

    What nothing needs is announced first, and deleted a day later: run this every few hours. Ends
    with 1 if something can't be read, and with 4 if the store refused to delete.
    """
    if dry_run and while_nobody_writes:
        raise click.UsageError("--dry-run and --while-nobody-writes don't go together.")
    with bar(surroundings.err, "Collecting", 0) as note:

        def report(progress: Progress) -> None:
            note(progress.done, progress.total)

        async with opened(surroundings, work_directory) as repository:
            if while_nobody_writes:
                try:
                    found = await collect_while_nobody_writes(repository, report)
                except StillWrittenError as error:
                    raise RefusedError(
                        f"{error} Stop these sessions first, or collect without "
                        "--while-nobody-writes."
                    ) from error
            else:
                found = await collect(repository, report=report, dry_run=dry_run)
    if output == "json":
        print_json(surroundings.out, found)
    else:
        for sentence in sentences(found, dry_run=dry_run):
            surroundings.say(sentence)
    if found.problems:
        raise CommandError(
            f"{found.problems[0]}. `studios checkpoints verify -w {work_directory.url}` says what "
            "that costs."
        )
    if found.refused:
        raise RefusedError(
            f"The store refused {found.refused} deletions: {found.refusal} Permit deleting, and "
            "collect again."
        )


def sentences(found: Collected, *, dry_run: bool) -> list[str]:
    """Return what people are told about a collection, the problems aside."""
    said = [
        f"{counted(found.checkpoints, 'checkpoint')} with "
        f"{counted(found.generations, 'generation')}: {show_bytes(found.needed_bytes)} are needed "
        f"of the {show_bytes(found.stored_bytes)} in {counted(found.packs, 'pack')}."
    ]
    done = [
        (
            found.deleted_records,
            f"drop {counted(found.deleted_records, 'superseded generation')}; what only they "
            "needed is found by the next collection",
        ),
        (
            found.deleted_packs,
            f"delete {counted(found.deleted_packs, 'pack')} ({show_bytes(found.deleted_bytes)})",
        ),
        (found.deleted_indexes, f"delete {counted(found.deleted_indexes, 'index', 'indexes')}"),
        (found.announced_packs, f"announce the end of {counted(found.announced_packs, 'pack')}"),
        (found.revived_packs, f"take back the announcement of {found.revived_packs}"),
        (found.rewritten_packs, _rewriting(found)),
    ]
    for count, what in done:
        verb, _, rest = what.partition(" ")
        if count:
            said.append(f"Would {what}." if dry_run else f"{_DONE[verb]} {rest}.")
    if found.is_blocked:
        said.append(
            "Nothing is freed while a record or an index can't be read: bring it back, or delete "
            "its checkpoint."
        )
    elif found.unused_packs or found.waiting_packs:
        said.append(
            f"Without use: {counted(found.unused_packs, 'pack')} "
            f"({show_bytes(found.unused_bytes)}); announced and waiting: {found.waiting_packs}."
        )
    if found.next_at is not None and not found.is_blocked:
        said.append(f"More can be freed from {show_time(found.next_at)} UTC on: collect then.")
    return said


def _rewriting(found: Collected) -> str:
    before = f"{counted(found.rewritten_packs, 'pack')} ({show_bytes(found.rewritten_bytes)})"
    after = f", now {show_bytes(found.written_bytes)}" if found.written_bytes else ""
    return f"rewrite {before}{after}"


async def delete_by_hand(
    surroundings: Surroundings,
    checkpoint: str,
    work_directory: WorkDirectory,
    *,
    even_if_written: bool,
    output: str,
) -> None:
    """Delete one that a work directory holds, without the control plane."""
    async with opened(surroundings, work_directory) as repository:
        selector = parse_selector(checkpoint)
        if "@" in checkpoint:
            raise NoSuchError("A single generation can't be deleted: write the id alone.")
        found = await repository.checkpoints()
        checkpoint_id = choose_checkpoint(selector.id_prefix, found)
        try:
            deleted = await delete_checkpoint(
                repository, checkpoint_id, even_if_written=even_if_written
            )
        except StillWrittenError as error:
            raise RefusedError(
                f"{error} Stop that session first, or say --even-if-written."
            ) from error
    if output == "json":
        print_json(
            surroundings.out,
            Deletion(
                checkpoint_id=checkpoint_id,
                deleted_records=deleted.records,
                refused=deleted.refused,
            ),
        )
    if deleted.refused:
        raise RefusedError(
            f"The store refused to delete {deleted.refused} records: {deleted.refusal} Permit "
            "deleting, and try again."
        )
    if output != "json":
        surroundings.say(
            f"Deleted checkpoint {checkpoint_id}. `studios checkpoints collect -w "
            f"{work_directory.url}` frees what only it needed."
        )
