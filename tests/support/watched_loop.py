"""The event loops of tests: they check what asyncio's debug mode checks, at a third of the price.

In debug mode a loop says which callbacks block it, and refuses calls from other threads and
coroutines in the place of functions. It also has each future, task and handle keep the stack that
it was made on, formatted, with a look at every source file whether it has changed: two thirds of
the processor's time in tests whose stores are simulated, for a line more in few messages. Whoever
keeps a stack asks the loop whether it is in debug mode, and the checks don't.
"""

from __future__ import annotations

import asyncio

import uvloop


class WatchedLoop(asyncio.SelectorEventLoop):
    """asyncio's own. Checks in debug mode; has nobody keep stacks."""

    def get_debug(self) -> bool:
        """Say no, so that nobody keeps stacks."""
        return False


class WatchedUvloop(uvloop.Loop):
    """The programs'. Keeps stacks itself, but has no future and no task keep them."""

    def get_debug(self) -> bool:
        """Say no, so that futures and tasks keep no stacks."""
        return False
