"""`verify`: whether everything stored is what was written."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
import msgspec

from checkpoints.format import names
from checkpoints.reading.verify import verify
from studios.commands.checkpoints.bars import bar
from studios.commands.checkpoints.opening import WorkDirectory, opened, work_directory_option
from studios.commands.checkpoints.shown import show_bytes, show_loss, text
from studios.commands.options import awaited
from studios.output import format_option, print_json, print_table
from studios.surroundings import Surroundings, pass_surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from checkpoints.reading.verified import Progress, Verified

_WHOLE = 100.0


class Lost(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Something that a generation can't give back, for scripts."""

    checkpoint_id: str
    generation: int
    path: str
    names: int
    of_base: bool
    reason: str


class Damaged(msgspec.Struct, frozen=True, kw_only=True):
    """An object that isn't what was written, for scripts."""

    object: str
    problem: str


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What `verify` prints for scripts."""

    sound: bool
    packs: int
    packs_read: int
    bytes_read: int
    generations: int
    damages: tuple[Damaged, ...]
    losses: tuple[Lost, ...]
    losses_count: int
    marked: tuple[str, ...]
    without_records: tuple[str, ...]
    foreign: tuple[str, ...]


@click.command("verify")
@click.option(
    "--sample",
    type=click.FloatRange(0, _WHOLE, min_open=True),
    default=_WHOLE,
    metavar="PERCENT",
    help="Read only so many of the packs, drawn by chance; of trees, indexes and records all.",
)
@click.option("--seed", type=int, help="Draw the same sample again.")
@work_directory_option
@format_option
@pass_surroundings
@awaited
async def verify_command(
    surroundings: Surroundings,
    *,
    sample: float,
    seed: int | None,
    work_directory: WorkDirectory,
    output: str,
) -> None:
    """Check everything that is stored; name what is damaged, and what that costs.

    Ends with 1 if anything is.
    """
    rng = random.Random(seed)
    with reading_packs(surroundings) as report:
        async with opened(surroundings, work_directory, anyway=True) as repository:
            found = await verify(repository, share=sample / _WHOLE, rng=rng, report=report)
    if output == "json":
        print_json(surroundings.out, _report(found))
    else:
        _print(surroundings, found, work_directory.url)
    if not found.is_sound:
        raise click.exceptions.Exit(1)


@contextmanager
def reading_packs(surroundings: Surroundings) -> Iterator[Callable[[Progress], None]]:
    """Show how far a verification is; yield what is to be told."""
    with bar(surroundings.err, "Reading packs", 0) as note:
        yield lambda progress: note(progress.packs, progress.packs_total)


def _report(found: Verified) -> Report:
    return Report(
        sound=found.is_sound,
        packs=found.packs,
        packs_read=found.packs_read,
        bytes_read=found.bytes_read,
        generations=found.generations,
        damages=tuple(Damaged(object=each.key, problem=each.what) for each in found.damages),
        losses=tuple(
            Lost(
                checkpoint_id=losses.place.checkpoint_id,
                generation=losses.place.generation,
                path=text(loss.path),
                names=loss.names,
                of_base=loss.of_base,
                reason=loss.reason,
            )
            for losses in found.losses
            for loss in losses.named
        ),
        losses_count=sum(losses.count for losses in found.losses),
        marked=tuple(sorted(pack_id.hex() for pack_id in found.marked)),
        without_records=tuple(found.without_records),
        foreign=tuple(found.foreign),
    )


def _print(surroundings: Surroundings, found: Verified, url: str) -> None:
    if found.damages:
        print_table(
            surroundings.out,
            ("DAMAGED OBJECT", "PROBLEM"),
            ((each.key, each.what) for each in found.damages),
        )
    if found.losses:
        print_table(
            surroundings.out,
            ("CHECKPOINT", "LOST"),
            (
                (str(losses.place), show_loss(loss))
                for losses in found.losses
                for loss in losses.named
            ),
        )
    if any(damage.key == names.FORMAT for damage in found.damages):
        surroundings.say(
            f"{names.FORMAT} holds no data: delete what is there of it, and the next "
            "`studios checkpoints write` lays it down anew."
        )
    for losses in found.losses:
        if losses.count > len(losses.named):
            surroundings.say(f"… and {losses.count - len(losses.named)} more of {losses.place}.")
    for checkpoint_id in found.without_records:
        surroundings.say(
            f"Checkpoint {checkpoint_id} has an index and no record: it is being written for the "
            "first time, or its records were deleted, and collections will free what it had."
        )
    if found.is_repairable:
        surroundings.say(
            f"`studios checkpoints repair -w {url}` says what can be mended, and with --yes lets "
            "nothing rely on what is damaged."
        )
    what = f"{found.generations} generations and {found.packs_read} of {found.packs} packs"
    verdict = "all is well" if found.is_sound else "not all is well"
    surroundings.say(f"Checked {what} ({show_bytes(found.bytes_read)}): {verdict}.")
