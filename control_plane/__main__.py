"""Runs a control plane alone, configured by `STUDIOS_*`; `studios up` composes one with an edge."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

import uvloop

from common import log
from common.clock import SystemClock
from control_plane import app
from control_plane.config import InvalidConfigError, from_environment


async def _run() -> None:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await app.serve(from_environment(), clock=SystemClock(), on_ready=lambda _: None)


def main() -> int:
    log.configure(program="control_plane")
    try:
        uvloop.run(_run())
    except (InvalidConfigError, OSError) as error:
        print(f"control_plane: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
