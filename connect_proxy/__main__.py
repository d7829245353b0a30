"""Run an edge by itself: `python -m connect_proxy`, settings from the environment."""

from __future__ import annotations

import asyncio
import signal
import sys

import uvloop

from common import log
from common.clock import SystemClock
from connect_proxy.config import ConfigError, EdgeConfig, from_environment
from connect_proxy.edge import serve


async def run(config: EdgeConfig) -> None:
    """Serve until SIGTERM or SIGINT."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await serve(config, clock=SystemClock(), on_ready=lambda port: print(port, flush=True))
    except asyncio.CancelledError:
        return


def main() -> int:
    """Return the exit code: 0 after a signal, 2 for wrong settings."""
    try:
        config = from_environment()
    except ConfigError as error:
        print(f"connect_proxy: {error}", file=sys.stderr)
        return 2
    log.configure(program="connect_proxy")
    uvloop.run(run(config))
    return 0


if __name__ == "__main__":
    sys.exit(main())
