"""The status line in the foreground: live on a terminal, elsewhere a line for each change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rich.status import Status as Spinner

from studios.failures import CommandError
from studios.up.overview import overview, show_uptime

if TYPE_CHECKING:
    from rich.console import Console

    from common.clock import Clock
    from studios.client import Client

LOOK_SECONDS_MIN = 2.0  # fresh enough for a person
LOOK_SHARE = 0.02  # of the time: a look reads all Studios, which takes long where there are many

REDRAWS_PER_SECOND = 2.0  # it may stand there for days, at the other end of a slow line


class Line(Protocol):
    """Where the status is shown."""

    def show(self, text: str, uptime: str) -> None: ...

    def close(self) -> None: ...


class LiveLine:
    """One line that changes in place."""

    def __init__(self, console: Console) -> None:
        self._spinner = Spinner("", console=console, refresh_per_second=REDRAWS_PER_SECOND)
        self._spinner.start()

    def show(self, text: str, uptime: str) -> None:
        self._spinner.update(f"{text} · {uptime} · Ctrl-C stops the sessions")

    def close(self) -> None:
        self._spinner.stop()


class PlainLine:
    """A new line for each change; time alone is none."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown = ""

    def show(self, text: str, uptime: str) -> None:
        if text != self._shown:
            self._shown = text
            self._console.print(f"{text} · {uptime}", soft_wrap=True)

    def close(self) -> None:
        pass


async def keep_shown(client: Client, console: Console, clock: Clock) -> None:
    """Show the status until cancelled."""
    began = clock.monotonic()
    line: Line = LiveLine(console) if console.is_terminal else PlainLine(console)
    try:
        while True:
            looked = clock.monotonic()
            try:
                text = overview(await client.studios())
            except CommandError as error:
                text = error.message
            now = clock.monotonic()
            line.show(text, show_uptime(now - began))
            await clock.sleep(max(LOOK_SECONDS_MIN, (now - looked) / LOOK_SHARE))
    finally:
        line.close()
