"""The paths below `/.studio/`, which the agent answers itself; the gateway has checked the token.

- `health`: see `agent.health`; 200 or 503
- `log?tail=<lines>&follow=1`: the tool's output so far and, with `follow`, as it comes
- `metrics`: see `agent.metrics`
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent import metrics
from agent.health import assess
from agent.supervisor.output import LINE_COUNT_MAX, TooManyFollowersError
from common.wire import encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from agent.supervisor.output import ToolOutput
    from common.clock import Clock
    from common.messages import StatusReport

PREFIX = "/.studio/"
TAIL_LINES_DEFAULT = 100
_LINE_COUNT = re.compile(r"\d{1,6}", re.ASCII)
_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway sends; a `body` of pieces is sent as they come, and closed when done."""

    status: int
    content_type: str
    body: bytes | AsyncIterator[bytes]


def _refusal(status: int, sentence: str) -> Answer:
    return Answer(status, _JSON, encode({"message": sentence}))


class Reserved:
    """Answers what is below `/.studio/`."""

    def __init__(
        self,
        *,
        output: ToolOutput,
        observe: Callable[[], StatusReport],
        counters: Callable[[], metrics.Counters],
        clock: Clock,
    ) -> None:
        self._output = output
        self._observe = observe
        self._counters = counters
        self._clock = clock

    async def answer(self, method: str, path: str, query: Mapping[str, str]) -> Answer:
        """Answer one request; `path` is the whole one, decoded, without the query."""
        known = {"health": self._health, "log": self._log, "metrics": self._metrics}
        handler = known.get(path.removeprefix(PREFIX))
        if handler is None:
            return _refusal(404, f"{path} is not one of the session's own pages")
        if method not in {"GET", "HEAD"}:
            return _refusal(405, f"{method} is not possible here: use GET")
        return await handler(query)

    async def _health(self, _: Mapping[str, str]) -> Answer:
        health = assess(self._observe(), self._clock.now())
        return Answer(200 if health.healthy else 503, _JSON, encode(health))

    async def _metrics(self, _: Mapping[str, str]) -> Answer:
        return Answer(200, metrics.CONTENT_TYPE, metrics.render(self._observe(), self._counters()))

    async def _log(self, query: Mapping[str, str]) -> Answer:
        text = query.get("tail", str(TAIL_LINES_DEFAULT))
        if not _LINE_COUNT.fullmatch(text) or int(text) > LINE_COUNT_MAX:
            return _refusal(400, f"tail is a number of lines between 0 and {LINE_COUNT_MAX}")
        if query.get("follow", "0") not in {"1", "true"}:
            return Answer(200, _TEXT, await self._output.tail(int(text)))
        try:
            return Answer(200, _TEXT, self._output.follow(int(text)))
        except TooManyFollowersError:
            return _refusal(503, "too many readers follow this log already: end one of them")
