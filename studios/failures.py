"""Why a command failed, each kind with its exit code. The text is one sentence and the next step.

| code | meaning                                     |
|------|---------------------------------------------|
| 0    | done                                        |
| 1    | failed; the sentence says why               |
| 2    | the command line itself is wrong            |
| 3    | no such Studio, user or template            |
| 4    | refused: not logged in, or not allowed      |
| 5    | the control plane or session can't be reached |
| 6    | `--wait` gave up after `--timeout`          |
| 130  | interrupted with Ctrl-C                     |

They are click's exceptions, so that click prints them to standard error as `Error: …` and ends
the process with their code.
"""

from __future__ import annotations

import click

INTERRUPTED_EXIT_CODE = 130  # 128 + SIGINT, as shells report it


class CommandError(click.ClickException):
    """The command was understood and did not succeed."""

    exit_code = 1


class AmbiguousNameError(CommandError):
    """More than one Studio has the name; the text lists their ids."""

    exit_code = 2


class NotFoundError(CommandError):
    """Nothing of that name or id is there."""

    exit_code = 3


class RefusedError(CommandError):
    """Not logged in, or this person may not do that."""

    exit_code = 4


class StorageFullError(CommandError):
    """The disk of the control plane's database is full: nothing was recorded."""


class UnreachableError(CommandError):
    """No answer; trying again may help."""

    exit_code = 5


class WaitTimeoutError(CommandError):
    """`--wait` gave up; what was asked for may still happen."""

    exit_code = 6
