"""Data on standard output: tables and sheets for people, one JSON document for scripts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from rich.console import Console

F = TypeVar("F", bound=Callable[..., Any])

_STYLES = {
    "running": "green",
    "starting": "yellow",
    "stopping": "yellow",
    "building": "yellow",
    "errored": "red",
    "buildFailed": "red",
    "✓": "green",
    "!": "yellow",
    "✗": "red",
}


def format_option(command: F) -> F:
    """Add `-o/--output` to a command that prints data."""
    return click.option(
        "-o",
        "--output",
        "output",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="For people, or as one JSON document with the API's names.",
    )(command)


def print_json(console: Console, value: Any) -> None:
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    console.file.write(text + "\n")


def print_table(console: Console, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print aligned columns; styles by status where a cell is one, on terminals only."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=not console.is_terminal, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(cell) for cell in row))
    _print(console, table)


def print_sheet(console: Console, facts: Iterable[tuple[str, str]]) -> None:
    """Print one thing's facts, a line each; those without a value are left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        if value:
            table.add_row(name, _cell(value))
    _print(console, table)


def show_status(status: str) -> str:
    """Return the status as people see it: the API's `buildFailed` is `build-failed`."""
    return "build-failed" if status == "buildFailed" else status


def show_time(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}" if time else ""


def _print(console: Console, table: Table) -> None:
    with console.capture() as capture:
        console.print(table)
    # Cells are padded; where the text goes into a file or a pipe, that is only noise.
    for line in capture.get().splitlines():
        console.file.write((line if console.is_terminal else line.rstrip()) + "\n")


def printable(text: str) -> str:
    """Return text that can't act on somebody else's terminal: escape sequences are shown."""
    return (
        text
        if text.isprintable()
        else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    )


def _cell(text: str) -> Text:
    safe = printable(text)
    return Text(safe, style=_STYLES.get(safe, ""))
