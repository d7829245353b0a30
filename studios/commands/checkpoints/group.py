"""`checkpoints`: the command, and what belongs to it."""

from __future__ import annotations

import click

from studios.commands.checkpoints.checking import verify_command
from studios.commands.checkpoints.collecting import collect_command
from studios.commands.checkpoints.deleting import delete_command
from studios.commands.checkpoints.getting import restore_command, restore_file
from studios.commands.checkpoints.layers import export_command, import_command
from studios.commands.checkpoints.logs import warnings_only
from studios.commands.checkpoints.looking import cat, diff_command, ls, scan, stats
from studios.commands.checkpoints.of_studio import (
    list_command,
    rename_command,
    save_command,
    start_as_new,
)
from studios.commands.checkpoints.repairing import repair_command
from studios.commands.checkpoints.writing import write_command
from studios.surroundings import Surroundings, pass_surroundings

EPILOG = """\b
With -w a checkpoint is written ID[@GENERATION | @TIME]:
  3f2a                     the newest generation of the one whose id begins so
  3f2a@12                  its generation 12
  3f2a@2026-03-04T05:06    what it was then (UTC)

A bucket's credentials are those that the environment or this machine has.
"""


@click.group(epilog=EPILOG)
@pass_surroundings
def checkpoints(surroundings: Surroundings) -> None:
    """What sessions saved: of a Studio, or all that a work directory holds (-w).

    list, save, rename, delete and start-as-new are about a Studio's, and ask the control plane. All
    others, and delete with -w, need none: they look into a work directory, check it, get files
    back, and write folders to it.
    """
    click.get_current_context().with_resource(warnings_only(surroundings.err))


for command in (
    list_command, save_command, rename_command, start_as_new,
    scan, ls, cat, diff_command, stats, verify_command, repair_command, restore_command,
    restore_file, write_command, export_command, import_command, collect_command, delete_command,
):  # fmt: skip
    checkpoints.add_command(command)
