"""**Start here.** The commands of one session: whether another may begin, and all their ends.

A request reaches this with a valid token of the scope `exec`. It is let in if it is the handshake
of our protocol, comes from no page, finds room and its token was not used before; the token is
looked at last, so that a refusal for another reason doesn't spend it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from agent.exec.execution import Execution
from agent.exec.spent import SpentTokens
from common.exec.handshake import HandshakeError, accept
from common.http1.replies import message
from common.http1.site import Switch

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from agent.exec.starting import Surroundings
    from agent.parts import Entrance
    from common.clock import Clock
    from common.http1.head import RequestHead
    from common.http1.replies import Reply
    from common.tasks import TaskBag
    from common.tokens import StudioClaims

EXECS_MAX = 32
"""At a time. Each has a helper process of some megabytes outside the session's limits."""
_RETRY_AFTER_SECONDS = 5

_log = structlog.get_logger()


class Execs:
    """See the module."""

    def __init__(
        self,
        ground: Entrance,
        usual: Surroundings,
        *,
        used: Callable[[], None],
        tasks: TaskBag,
        clock: Clock,
    ) -> None:
        """`used` is called whenever a person does something."""
        self._ground = ground
        self._usual = usual
        self._used = used
        self._tasks = tasks
        self._clock = clock
        self._spent = SpentTokens()
        self._running: set[Execution] = set()
        self._ending = False

    def decide(self, head: RequestHead, claims: StudioClaims) -> Reply | Switch:
        """Answer a request for a command."""
        if b"origin" in head.fields or b"sec-fetch-site" in head.fields:
            return message(403, "Commands are for programs; no page may run one.")
        try:
            accepted = accept(head)
        except HandshakeError as error:
            return message(400, str(error))
        now = self._clock.now().timestamp()
        refusal = self._no_room(now)
        if refusal:
            return message(503, refusal, retry_after_seconds=_RETRY_AFTER_SECONDS)
        if not self._spent.spend(claims.jti, expires=claims.exp):
            return message(401, "This token was used before: each is for one command.")
        execution = Execution(self._ground, self._usual, used=self._used, clock=self._clock)
        self._running.add(execution)

        def take_over(transport: asyncio.Transport, early: bytes) -> None:
            execution.connection.take_over(transport, early)
            self._tasks.spawn(self._live(execution, claims.sub), name="exec")

        return Switch(accepted, take_over)

    def _no_room(self, now: float) -> str:
        if self._ending:
            return "The session is being stopped."
        if len(self._running) >= EXECS_MAX:
            return f"{EXECS_MAX} commands run in this session already: end one, or use --detach."
        if self._spent.is_full(now):
            return "Too many commands were started within a minute: try again."
        return ""

    async def _live(self, execution: Execution, bearer: str) -> None:
        """See a command through. A bug that one command meets ends this one."""
        _log.info("exec_begins", bearer=bearer, running=len(self._running))
        try:
            await execution.live()
        except Exception:  # noqa: BLE001 - see above; what ended is closed by `live`
            _log.exception("exec_died", bearer=bearer)
        finally:
            self._running.discard(execution)

    def announce_end(self) -> None:
        """Tell those who wait for a command that the session is being stopped; begin none."""
        self._ending = True
        for execution in self._running:
            execution.notify("The session is being stopped.")
