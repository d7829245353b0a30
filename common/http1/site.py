"""What may happen to a request, and who decides it.

A site is asked once per request, in a plain function where it can answer from memory: that is the
fast path, with no task at all. Where it has to ask somebody it returns `Later`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from common.http1.replies import Reply

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from common.http1.head import Headers, RequestHead, ResponseHead
    from common.http1.lane import Lane
    from common.http1.relay import Downstream
    from common.http1.upstream import Upstream
    from common.tasks import TaskBag


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a request's body may take. While the far end doesn't read, silence doesn't count."""

    silent_seconds_max: float = 300.0
    """Between two pieces of it."""
    seconds_max: float = math.inf
    """From its head to its last byte."""
    gather: bool = False
    """Whether it is to arrive whole before a connection is taken: a far end that has few must not
    be held by clients that send one byte and wait. For short bodies of a known length."""


PATIENT = Patience()


@dataclass(slots=True)
class Forward:
    """Pass the request on: `head` is what to send, `respond` makes the response's fields."""

    lane: Lane
    head: bytes
    respond: Callable[[ResponseHead], Headers]
    joined: Callable[[Downstream, Upstream, bytes, bytes], None] | None = None
    """Takes over after a 101 instead of the plain `join`."""
    patience: Patience = PATIENT
    ended: Callable[[], None] | None = None
    """Called once, when the exchange is over or given up."""


@dataclass(slots=True)
class Later:
    """The decision needs to ask somebody."""

    decision: Coroutine[None, None, Reply | Forward | Switch]


@dataclass(slots=True)
class Switch:
    """Answer with `reply` and hand the connection over, with bytes that came early."""

    reply: bytes
    take_over: Callable[[asyncio.Transport, bytes], None]


Decision = Reply | Forward | Switch | Later


class Site(Protocol):
    """Decides what happens to requests. Must not raise; must not block."""

    tasks: TaskBag
    idle_seconds_max: float

    def decide(self, downstream: Downstream, head: RequestHead) -> Decision: ...

    def failure(
        self, downstream: Downstream, head: RequestHead | None, status: int, sentence: str
    ) -> Reply:
        """Make the response for a request that failed here; also the place to log and count it."""
        ...

    def opened(self, downstream: Downstream) -> None: ...

    def closed(self, downstream: Downstream) -> None: ...
