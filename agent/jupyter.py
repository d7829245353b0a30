"""What a Jupyter server says about its own activity: a busy kernel counts without any browser.

`parse_activity` is pure; `JupyterProbe` asks every 30 s. A probe that fails says nothing: the
session is neither active nor idle because of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from agent.supervisor.plain_http import NoAnswerError, get
from common.wire import MalformedMessageError, decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.activity import Activity
    from common.clock import Clock
    from common.http1.lane import Address
    from common.session_spec import ToolSpec

INTERVAL_SECONDS = 30.0
LIMIT_SECONDS = 5.0
_OK = 200

_log = structlog.get_logger()


class _Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of /api/kernels; fields we don't need are ignored."""

    execution_state: str = ""


class _Terminal(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of /api/terminals."""

    name: str
    last_activity: str = ""


class Terminals(msgspec.Struct, frozen=True, kw_only=True):
    """When each terminal was last active, by name, as the server wrote it."""

    last_activity: dict[str, str] = {}


def parse_activity(
    kernels: bytes, terminals: bytes, before: Terminals
) -> tuple[str | None, Terminals]:
    """Return the reason why the session is in use, if any, and what to compare with next time.

    A terminal is in use when it printed or read something since `before`; one that is new counts
    only from the next time on. Raises MalformedMessageError.
    """
    now = Terminals(
        last_activity={one.name: one.last_activity for one in decode(terminals, list[_Terminal])}
    )
    if any(kernel.execution_state == "busy" for kernel in decode(kernels, list[_Kernel])):
        return "kernel busy", now
    known = before.last_activity
    if any(known.get(name, at) != at for name, at in now.last_activity.items()):
        return "terminal active", now
    return None, now


class JupyterProbe:
    """Asks the tool, and notes what it says."""

    def __init__(
        self,
        tool: ToolSpec,
        address: Address,
        activity: Activity,
        *,
        is_ready: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._tool = tool
        self._address = address
        self._activity = activity
        self._is_ready = is_ready
        self._clock = clock
        self._terminals = Terminals()

    async def run(self) -> None:
        while True:
            await self._clock.sleep(INTERVAL_SECONDS)
            if self._is_ready():
                await self.probe()

    async def probe(self) -> None:
        """Ask once."""
        prefix = self._tool.path_prefix.rstrip("/")
        try:
            kernels = await self._ask(f"{prefix}/api/kernels")
            terminals = await self._ask(f"{prefix}/api/terminals")
            reason, self._terminals = parse_activity(kernels, terminals, self._terminals)
        except (NoAnswerError, MalformedMessageError) as error:
            _log.info("activity_unknown", error=str(error))
            return
        if reason is not None:
            self._activity.note(reason)

    async def _ask(self, target: str) -> bytes:
        status, body = await get(self._address, target, limit_seconds=LIMIT_SECONDS)
        if status != _OK:
            raise NoAnswerError(f"{target} answered {status}")
        return body
