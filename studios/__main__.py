"""The command `studios`.

**Start here.** Every command is a function in `commands`; what it can't do it says by raising one
of `failures`, which click prints as one sentence. Anything else that is raised is a bug of ours:
the person gets a sentence, and the traceback goes to a file.
"""

from __future__ import annotations

import sys

try:  # it takes some tenths of a second: long enough for somebody to change their mind
    import os
    import tempfile
    import traceback
    from contextlib import suppress
    from importlib import import_module
    from typing import Any, NoReturn, cast

    import click

    from common.templates import CONNECT_VERSION
    from studios.failures import INTERRUPTED_EXIT_CODE, CommandError
    from studios.surroundings import Surroundings
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


COMMANDS = {
    "add": "studios.commands.adding:add",
    "checkpoints": "studios.commands.checkpoints.group:checkpoints",
    "delete": "studios.commands.lifecycle:delete",
    "doctor": "studios.commands.doctor:doctor",
    "exec": "studios.commands.exec:exec_command",
    "extend": "studios.commands.lifecycle:extend",
    "list": "studios.commands.listing:list_studios",
    "login": "studios.commands.login:login",
    "logs": "studios.commands.logs:logs",
    "start": "studios.commands.lifecycle:start",
    "stop": "studios.commands.lifecycle:stop",
    "templates": "studios.commands.listing:templates",
    "up": "studios.up.command:up",
    "users": "studios.commands.users:users",
    "view": "studios.commands.listing:view",
}


class _Commands(click.Group):
    """Commands whose failures name other commands as this person can type them.

    Each is imported when it is needed: all of them take twice as long as most do.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        try:
            return cast("click.Command", getattr(import_module(module), name))
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED_EXIT_CODE)

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


def main() -> NoReturn:
    """Do what the command line says, and end the process."""
    try:
        _main()
    except SystemExit as end:
        _end(end.code if isinstance(end.code, int) else 0)
    _end(0)


def _main() -> None:
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


def _end(code: int) -> NoReturn:
    """End at once. Python would take itself apart first.

    Threads of the library for buckets may just be letting go of what they gave us; one that finds
    no interpreter any more aborts the process, after a command that did all it was told to.
    """
    try:
        print(end="", flush=True)  # to nowhere, where there is no output
    except OSError as error:
        print(f"Error: the output could not be written: {error.strerror}.", file=sys.stderr)
        code = code or 1
    with suppress(OSError):
        print(end="", file=sys.stderr, flush=True)
    os._exit(code)


if __name__ == "__main__":
    main()
