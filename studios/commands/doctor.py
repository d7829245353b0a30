"""`doctor`: what this machine lacks for sessions, and what gives it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from common.findings import Verdict, flags
from studios.commands.options import awaited
from studios.host_check import look_at_host
from studios.output import format_option, print_json, print_table
from studios.surroundings import Surroundings, pass_surroundings

if TYPE_CHECKING:
    from common.findings import Finding, Findings

MARKS = {Verdict.OK: "✓", Verdict.WEAKER: "!", Verdict.MISSING: "✗"}


@click.command()
@click.option(
    "--carry",
    "carried",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Count on a folder that `studios up --carry` shows to sessions.",
)
@format_option
@click.option("--json", "as_json", is_flag=True, help="The same as --output json.")
@pass_surroundings
@awaited
async def doctor(
    surroundings: Surroundings, *, carried: tuple[Path, ...], output: str, as_json: bool
) -> None:
    """Say whether sessions can run on this machine, and what would give what is missing.

    Everything is tried that can be tried without a trace. Ends with 1 if no session could run.
    """
    found = await look_at_host(surroundings.settings.data_dir, carried)
    if as_json or output == "json":
        print_json(surroundings.out, found)
    else:
        print_table(
            surroundings.out,
            ("", "NEED", "FOR", "WHAT TO DO"),
            (
                (MARKS[finding.verdict], finding.need, finding.purpose, _advice(found, finding))
                for finding in found.findings
            ),
        )
        for sentence in _summary(found):
            surroundings.say(sentence)
    if found.having(Verdict.MISSING):
        raise click.exceptions.Exit(1)


def _advice(found: Findings, finding: Finding) -> str:
    if not finding.problem:
        return ""
    loss = f": {finding.loss}" if finding.loss else ""
    return f"{finding.problem}{loss} → {found.remedy(finding)}"


def _summary(found: Findings) -> tuple[str, ...]:
    missing, weaker = (len(found.having(v)) for v in (Verdict.MISSING, Verdict.WEAKER))
    if missing:
        first = f"No session can run here: {missing} of these {_are(missing)} missing (✗)."
    elif weaker:
        first = f"Sessions can run here, with {weaker} loss{'es' if weaker > 1 else ''} (!)."
    else:
        first = "Sessions can run here."
    together = flags(found)
    if not together:
        return (first,)
    return (first, f"All of it, for the engine of this container: {together}")


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
