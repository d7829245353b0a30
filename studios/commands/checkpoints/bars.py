"""Progress of long commands: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress as Bars,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console


class Note(Protocol):
    """Takes note of how far something is; quick, for it is called often."""

    def __call__(self, done: int, of: int | None = None, /) -> None: ...


@contextmanager
def bar(
    console: Console, label: str, total: int | None, *, is_bytes: bool = False
) -> Iterator[Note]:
    """Yield what is told how much is done, and of how much if that is found out on the way.

    Nobody knows how much there is if `total` is None.
    """
    columns: tuple[ProgressColumn, ...] = (TextColumn("{task.description}"), BarColumn())
    if is_bytes:
        columns += (DownloadColumn(binary_units=True), TransferSpeedColumn())
    else:
        columns += (MofNCompleteColumn(),)
    with Bars(
        *columns, TimeRemainingColumn(), console=console, transient=True,
        disable=not console.is_terminal,
    ) as bars:  # fmt: skip
        task = bars.add_task(label, total=total)

        def note(done: int, of: int | None = None, /) -> None:
            bars.update(task, completed=done, total=total if of is None else of)

        yield note
