"""Requests that end here: logged, counted, and answered with an id that finds the log line."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from typing import TYPE_CHECKING

import structlog

from connect_proxy import origin, pages

if TYPE_CHECKING:
    from common.http1.head import RequestHead
    from common.http1.relay import Downstream
    from common.http1.replies import Reply
    from connect_proxy.metrics import EdgeCounters

_log = structlog.get_logger()
_CHARACTERS_MAX = 200
LINES_PER_SECOND_MAX = 50


def _clipped(value: bytes) -> str:
    return value[:_CHARACTERS_MAX].decode("latin-1")


class Refusals:
    """See the module. Also gives requests their ids: unique across edges and restarts."""

    def __init__(self, counters: EdgeCounters) -> None:
        self._counters = counters
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count()
        self._second = 0
        self._logged = 0
        """Lines wanted in this second."""

    def new_id(self) -> str:
        return f"{self._prefix}{next(self._numbers) & 0xFFFFFFFF:08x}"

    def _may_log(self) -> bool:
        """Whether this second has a line left: a flood mustn't fill the disk with its own log."""
        second = int(asyncio.get_running_loop().time())
        if second != self._second:
            unsaid = self._logged - LINES_PER_SECOND_MAX
            self._second, self._logged = second, 0
            if unsaid > 0:
                _log.info("refusals_not_logged", count=unsaid)
        self._logged += 1
        return self._logged <= LINES_PER_SECOND_MAX

    def refuse(
        self, downstream: Downstream, head: RequestHead, status: int, reason: str, sentence: str
    ) -> Reply:
        """Answer with an error, logged and counted under `reason`."""
        self._counters.refused[reason] += 1
        if self._may_log():
            _log.info(
                "refused",
                reason=reason,
                status=status,
                request_id=downstream.request_id,
                client=downstream.client,
                method=_clipped(head.method),
                host=_clipped(head.fields.get(b"host", b"")),
            )
        return pages.error(
            status,
            sentence,
            navigation=origin.is_navigation(head),
            request_id=downstream.request_id,
        )

    def failure(
        self, downstream: Downstream, head: RequestHead | None, status: int, sentence: str
    ) -> Reply:
        downstream.request_id = downstream.request_id or self.new_id()
        self._counters.failed[str(status)] += 1
        if self._may_log():
            _log.info(
                "failed",
                status=status,
                sentence=sentence[:_CHARACTERS_MAX],
                request_id=downstream.request_id,
                client=downstream.client,
            )
        navigation = head is not None and origin.is_navigation(head)
        return pages.error(
            status, sentence, navigation=navigation, request_id=downstream.request_id
        )
