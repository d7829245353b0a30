"""Readiness: the tool answers a plain HTTP request.

Any answer below 500 counts: an IDE that redirects or asks for a login answers. Once it was ready
it is not asked again, and a probe never ends a tool: only its process's end does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.supervisor.plain_http import NoAnswerError, get

if TYPE_CHECKING:
    from common.clock import Clock
    from common.http1.lane import Address
    from common.session_spec import ToolSpec

INTERVAL_FIRST_SECONDS = 0.02
INTERVAL_SECONDS_MAX = 1.0
INTERVAL_GROWTH = 1.02
"""It asks every 40 ms a second after the start, every 0.1 s after 4, every second after 50: users
wait for this, and as long as nobody listens an attempt takes 0.2 ms."""
PROBE_SECONDS_MAX = 10.0
_SERVER_ERROR = 500


def probe_target(tool: ToolSpec) -> str:
    return tool.path_prefix.rstrip("/") + "/" + tool.readiness_path.lstrip("/")


async def becomes_ready(tool: ToolSpec, address: Address, clock: Clock) -> bool:
    """Probe until the tool answers: True; or its time is over: False."""
    target = probe_target(tool)
    end = clock.monotonic() + tool.readiness_timeout_seconds
    interval = INTERVAL_FIRST_SECONDS
    while clock.monotonic() < end:
        if await _answers(address, target):
            return True
        await clock.sleep(interval)
        interval = min(interval * INTERVAL_GROWTH, INTERVAL_SECONDS_MAX)
    return False


async def _answers(address: Address, target: str) -> bool:
    try:
        status, _ = await get(address, target, limit_seconds=PROBE_SECONDS_MAX, with_body=False)
    except NoAnswerError:
        return False
    return status < _SERVER_ERROR
