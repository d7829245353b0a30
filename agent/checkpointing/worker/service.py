"""**Start here:** orders in, answers out, until the agent is gone.

One order is carried out at a time; only `Cancel` may come meanwhile. Whatever ends this process
ends what it was doing: a write without its record, a folder without its layer. So nothing is
waited for at the end, and a bug ends it, too: the agent starts another one.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import socket
from typing import TYPE_CHECKING, assert_never

import structlog
import uvloop

from agent.checkpointing import orders
from agent.checkpointing.orders import (
    Begin,
    Cancel,
    Cancelled,
    DoneRestoring,
    DoneSweeping,
    Found,
    Newest,
    Open,
    Restore,
    Seal,
    Sweep,
    Write,
)
from agent.checkpointing.streams import Stream
from agent.checkpointing.worker.precedence import be_ended_before_the_agent, give_way
from agent.checkpointing.worker.translation import EXPECTED, translated
from agent.checkpointing.worker.work import Work
from agent.root.kernel import die_with_parent
from common import log
from common.clock import SystemClock

if TYPE_CHECKING:
    from agent.checkpointing.orders import Answer, Order, Underway
    from agent.checkpointing.streams import Message
    from common.clock import Clock

EXIT_BUG = 70  # EX_SOFTWARE of sysexits.h
PROGRESS_SECONDS_MIN = 0.2
"""Between two messages about progress: people see no more, and captures report a thousand times."""

_log = structlog.get_logger()


def main(fd: int) -> None:
    """Serve the agent at the other end of the socket `fd`. Never returns."""
    agent = os.getppid()
    die_with_parent(signal.SIGKILL)
    if os.getppid() != agent:
        os._exit(0)  # it had gone before that could tell
    be_ended_before_the_agent()
    log.configure(program="agent-checkpoints")
    code = EXIT_BUG
    try:
        uvloop.run(_serve(socket.socket(fileno=fd)))
        code = 0
    except BaseException:  # noqa: BLE001 - and then it ends
        _log.exception("checkpoint_process_failed")
    finally:
        os._exit(code)  # threads that still read or write for nobody are not waited for


async def _serve(end: socket.socket) -> None:
    end.setblocking(False)
    service = Service(await Stream.of(end), clock=SystemClock(), rng=random.Random(os.urandom(16)))
    await service.run()


class Service:
    """Carries out orders that come in a stream."""

    def __init__(self, stream: Stream, *, clock: Clock, rng: random.Random) -> None:
        self._stream = stream
        self._clock = clock
        self._rng = rng
        self._work: Work | None = None
        self._told_at = -math.inf

    async def run(self) -> None:
        """Return when the agent is gone, whatever is under way. Raise what is a bug."""
        async with asyncio.TaskGroup() as group:
            current: asyncio.Task[None] | None = None
            while (message := await self._stream.read()) is not None:
                match order := orders.decode_order(message.body):
                    case Begin():
                        self._work = Work(order.work_directory, clock=self._clock, rng=self._rng)
                    case Cancel():
                        if current is not None:
                            current.cancel()
                    case _:
                        assert current is None or current.done(), "one order at a time"
                        current = group.create_task(self._carry_out(order, message))
                        current.add_done_callback(self._tell_cancelled)
            if current is not None:
                current.cancel()

    async def _carry_out(self, order: Order, message: Message) -> None:
        self._told_at = -math.inf
        try:
            answer = await self._do(order, message)
        except EXPECTED as error:
            answer = translated(error)
        self._stream.say(answer)

    def _tell_cancelled(self, task: asyncio.Task[None]) -> None:
        """Answer also for a task that was cancelled before its first step."""
        if task.cancelled():
            self._stream.say(Cancelled())

    async def _do(self, order: Order, message: Message) -> Answer:
        work = self._work
        assert work is not None, "`Begin` comes first"
        match order:
            case Seal():
                return Found(saved=await work.seal(order.checkpoint_id, order.run_number))
            case Newest():
                return Found(saved=await work.newest(order.checkpoint_id, order.before))
            case Open():
                saved = await work.open(
                    order.checkpoint_id, order.run_number, order.image, order.parent
                )
                return Found(saved=saved)
            case Write():
                if not order.final:
                    give_way()
                changes = orders.parse_appendix(message.appendix) if order.has_changes else None
                saved = await work.write(
                    order.folder,
                    changes,
                    order.since_generation,
                    originals=order.originals,
                    final=order.final,
                    say=self._say_sometimes,
                )
                return Found(saved=saved)
            case Sweep():
                return DoneSweeping(swept=await work.sweep())
            case Restore():
                restored = await work.restore(
                    order.saved, order.folder, order.over, say=self._say_sometimes
                )
                return DoneRestoring(restored=restored)
            case Begin() | Cancel():
                raise AssertionError(order)
            case _:
                assert_never(order)

    def _say_sometimes(self, underway: Underway) -> None:
        now = self._clock.monotonic()
        if now - self._told_at >= PROGRESS_SECONDS_MIN:
            self._told_at = now
            self._stream.say(underway)
