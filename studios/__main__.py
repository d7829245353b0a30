"""The command `studios`.

**Start here.** Every command is a function in `commands`; what it can't do it says by raising one
of `failures`, which click prints as one sentence. Anything else that is raised is a bug of ours:
the person gets a sentence, and the traceback goes to a file.
"""

from __future__ import annotations

import sys

try:  # it takes a second or so: long enough for somebody to change their mind
    import tempfile
    import traceback
    from typing import Any

    import click

    from common.templates import CONNECT_VERSION
    from studios.commands.adding import add
    from studios.commands.checkpoints.group import checkpoints
    from studios.commands.doctor import doctor
    from studios.commands.exec import exec_command
    from studios.commands.lifecycle import delete, extend, start, stop
    from studios.commands.listing import list_studios, templates, view
    from studios.commands.login import login
    from studios.commands.logs import logs
    from studios.commands.users import users
    from studios.failures import INTERRUPTED_EXIT_CODE, CommandError
    from studios.surroundings import Surroundings
    from studios.up.command import up
except KeyboardInterrupt:
    sys.exit(130)  # INTERRUPTED_EXIT_CODE, which may not be there yet

VERSION = ".".join(str(number) for number in CONNECT_VERSION)
EPILOG = """\b
Environment:
  STUDIOS_URL, STUDIOS_TOKEN  where commands are sent, and the token for it;
                              else the `studios up` of STUDIOS_DATA_DIR, else
                              what `studios login` stored, else the
                              `studios up` of this machine
  STUDIOS_DATA_DIR            data folder of a `studios up` on this machine
                              (/var/lib/studios)

\b
Exit codes:
  0 done   1 failed   2 wrong command line   3 no such thing
  4 refused or not logged in   5 unreachable   6 --wait timed out
  130 interrupted with Ctrl-C

\b
Completion in bash (zsh and fish alike):
  eval "$(_STUDIOS_COMPLETE=bash_source studios)"
"""


class _Commands(click.Group):
    """Commands whose failures name other commands as this person can type them."""

    def invoke(self, ctx: click.Context) -> Any:
        surroundings = ctx.ensure_object(Surroundings)
        try:
            return super().invoke(ctx)
        except CommandError as error:
            raise type(error)(surroundings.as_typed(error.message)) from None


@click.group(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="%(prog)s %(version)s")
def cli() -> None:
    """Interactive analysis sessions in the browser."""


for command in (
    up, login, list_studios, view, add, start, stop, extend, delete, templates, logs,
    exec_command, checkpoints, users, doctor
):  # fmt: skip
    cli.add_command(command)


def main() -> None:
    try:
        cli.main(prog_name="studios")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED_EXIT_CODE)
    except Exception:  # noqa: BLE001 - the last stop: no traceback is shown to a person
        with tempfile.NamedTemporaryFile(
            "w", prefix="studios-", suffix=".log", delete=False, encoding="utf-8"
        ) as report:
            traceback.print_exc(file=report)
        print(
            f"Error: this is a bug in studios, please report it with {report.name}.",
            file=sys.stderr,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
