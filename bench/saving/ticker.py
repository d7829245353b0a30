"""An event loop that notes when it comes round; and a process that does nothing else.

`python -m bench.saving.ticker FILE` is that process: what it noted is in FILE once it has ended on
a SIGTERM. How long it is held up is what the machine does to everybody.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from array import array
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING

import uvloop

from bench.processes import child
from bench.saving.notes import STAMP, read_stamps

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import AsyncIterator, Callable, Sequence

TICK_SECONDS = 0.005


class Bystander:
    """The process, and what it noted."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def stamps(self) -> Sequence[int]:
        """Read when its loop came round, once it has ended."""
        return read_stamps(self._path.read_bytes())


@asynccontextmanager
async def bystander(folder: Path) -> AsyncIterator[Bystander]:
    """Have one while inside."""
    path = folder / "bystander.stamps"
    async with child("bystander", sys.executable, "-m", __name__, str(path), folder=folder):
        yield Bystander(path)


def ticking(make_loop: Callable[[], AbstractEventLoop], ticks: array[int]) -> AbstractEventLoop:
    """Return a new loop that adds the machine's monotonic time, in ns, every `TICK_SECONDS`."""
    loop = make_loop()

    def tick() -> None:
        ticks.append(monotonic_ns())
        loop.call_later(TICK_SECONDS, tick)

    loop.call_soon(tick)
    return loop


def main() -> None:
    ticks = array(STAMP)
    over = asyncio.Event()

    async def stand_by() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
        await over.wait()

    with asyncio.Runner(loop_factory=lambda: ticking(uvloop.new_event_loop, ticks)) as runner:
        runner.run(stand_by())
    Path(sys.argv[1]).write_bytes(ticks.tobytes())


if __name__ == "__main__":
    main()
