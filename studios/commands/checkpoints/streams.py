"""Long lists, printed as they come: nobody waits for a million names, or keeps them in memory."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import msgspec

from common.threads import Threads
from studios.output import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

T = TypeVar("T")

PAGE = 5_000
"""Items that are fetched and printed at a time."""


class Columns:
    """Prints rows in columns; one that is wider than was expected moves only its own row."""

    def __init__(self, console: Console, columns: Sequence[tuple[str, int]]) -> None:
        """Take names, and how many characters each may take; the last one isn't padded."""
        self._console = console
        self._widths = [width for _, width in columns[:-1]]

    def rows(self, rows: Sequence[Sequence[str]]) -> None:
        lines = []
        for *cells, last in rows:
            padded = [
                printable(cell).ljust(width)
                for cell, width in zip(cells, self._widths, strict=True)
            ]
            lines.append("  ".join((*padded, printable(last))).rstrip() + "\n")
        self._console.file.write("".join(lines))


class Document:
    """Prints one JSON document, a list, an item a line."""

    def __init__(self, console: Console) -> None:
        self._file = console.file
        self._comma = ""

    def begin(self) -> None:
        self._file.write("[")

    def items(self, items: Sequence[msgspec.Struct]) -> None:
        for item in items:
            self._file.write(f"{self._comma}\n  {msgspec.json.encode(item).decode()}")
            self._comma = ","

    def end(self) -> None:
        self._file.write("\n]\n" if self._comma else "]\n")


async def print_all(
    console: Console,
    output: str,
    found: Iterator[T],
    *,
    columns: Sequence[tuple[str, int]],
    row: Callable[[T], Sequence[str]],
    item: Callable[[T], msgspec.Struct],
) -> int:
    """Print what an iterator yields, which may block, as `output` says: a table, or JSON.

    Returns how many that were. Of none, there is no table.
    """
    table, document = Columns(console, columns), Document(console)
    with Threads(1, "list") as threads:

        def take() -> list[T]:
            return list(islice(found, PAGE))

        page = await threads.run(take)  # what fails at once, fails before anything is printed
        count = 0
        if output == "json":
            document.begin()
        elif page:
            table.rows([[name for name, _ in columns]])
        while page:
            if output == "json":
                document.items([item(each) for each in page])
            else:
                table.rows([row(each) for each in page])
            count += len(page)
            page = await threads.run(take)
        if output == "json":
            document.end()
    return count
