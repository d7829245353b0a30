"""`repair`: nothing relies on what is damaged any more, and what is left is found again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from checkpoints.repairing.repair import repair
from studios.commands.checkpoints.checking import reading_packs
from studios.commands.checkpoints.opening import WorkDirectory, opened, work_directory_option
from studios.commands.checkpoints.shown import counted
from studios.commands.options import awaited
from studios.output import format_option, print_json
from studios.surroundings import Surroundings, pass_surroundings

if TYPE_CHECKING:
    from checkpoints.repairing.repaired import Repaired


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """An index that was made anew, for scripts."""

    object: str
    chunks: int


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What `repair` prints for scripts."""

    done: bool
    """Or it only says what would be done."""
    marked: tuple[str, ...]
    rebuilt: tuple[Rebuilt, ...]
    hopeless: tuple[str, ...]
    found_chunks: int
    removed: tuple[str, ...]
    withheld_chunks: int
    losses_before: int


@click.command("repair")
@click.option("--yes", is_flag=True, help="Do it; else this only says what would be done.")
@work_directory_option
@format_option
@pass_surroundings
@awaited
async def repair_command(
    surroundings: Surroundings, *, yes: bool, work_directory: WorkDirectory, output: str
) -> None:
    """Read everything, and mend what damage left whole. Nothing that can be read is deleted.

    Damaged packs get a mark: nothing relies on them any more, and what is written again is stored
    again. Indexes are made anew from packs. Ends with 1 if something is to be done still.
    """
    with reading_packs(surroundings) as report:
        async with opened(surroundings, work_directory) as repository:
            found = await repair(repository, report, dry_run=not yes)
    if output == "json":
        print_json(surroundings.out, _report(found, done=yes))
    else:
        for sentence in sentences(found, work_directory.url, done=yes):
            surroundings.say(sentence)
    is_left = found.verified.losses and not found.has_work
    if found.hopeless or found.withheld_chunks or is_left or (found.has_work and not yes):
        raise click.exceptions.Exit(1)


def _report(found: Repaired, *, done: bool) -> Report:
    return Report(
        done=done,
        marked=tuple(found.marked),
        rebuilt=tuple(Rebuilt(object=key, chunks=chunks) for key, chunks in found.rebuilt.items()),
        hopeless=tuple(found.hopeless),
        found_chunks=found.found_chunks,
        removed=tuple(found.removed),
        withheld_chunks=found.withheld_chunks,
        losses_before=sum(losses.count for losses in found.verified.losses),
    )


def sentences(found: Repaired, url: str, *, done: bool) -> list[str]:
    """Return what people are told."""
    said = []
    for count, past, future, what in (
        (
            len(found.marked), "Marked", "Would mark",
            f"{counted(len(found.marked), 'pack')} as damaged, so that nothing relies on them any "
            "more. Write what they were of again: it is stored anew.",
        ),
        (
            len(found.rebuilt), "Made", "Would make",
            f"{counted(len(found.rebuilt), 'index', 'indexes')} anew from packs.",
        ),
        (
            found.found_chunks, "Made known", "Would make known",
            f"where {counted(found.found_chunks, 'chunk')} can be read that no index found.",
        ),
        (
            len(found.removed), "Deleted", "Would delete",
            f"{counted(len(found.removed), 'damaged list', 'damaged lists')} of moved chunks.",
        ),
    ):  # fmt: skip
        if count:
            said.append(f"{past if done else future} {what}")
    said += [
        f"{key} can't be made anew: nothing is left of what it listed. Bring packs back from a "
        "copy, or delete its checkpoint."
        for key in found.hopeless
    ]
    if found.withheld_chunks:
        said.append(
            f"{counted(found.withheld_chunks, 'chunk')} more can be read, in packs that a session "
            "may still delete: repair again when it has stopped, or a day later."
        )
    verify = f"`studios checkpoints verify -w {url}`"
    if found.has_work:
        said.append(f"{verify} says what is lost still." if done else "To do it, say --yes.")
    elif found.verified.losses:
        said.append(f"Nothing can be mended: {verify} says what is lost.")
    elif not said:
        said.append("There is nothing to mend.")
    return said
