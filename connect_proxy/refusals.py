"""Requests that end here: logged, counted, and answered with an id that finds the log line."""

from __future__ import annotations

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


class Refusals:
    """See the module. Also gives requests their ids: unique across edges and restarts."""

    def __init__(self, counters: EdgeCounters) -> None:
        self._counters = counters
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count()

    def new_id(self) -> str:
        return f"{self._prefix}{next(self._numbers) & 0xFFFFFFFF:08x}"

    def refuse(
        self, downstream: Downstream, head: RequestHead, status: int, reason: str, sentence: str
    ) -> Reply:
        """Answer with an error, logged and counted under `reason`."""
        self._counters.refused[reason] += 1
        _log.info(
            "refused",
            reason=reason,
            status=status,
            request_id=downstream.request_id,
            client=downstream.client,
            method=head.method.decode("ascii", "replace"),
            host=head.fields.get(b"host", b"").decode("latin-1"),
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
        _log.info(
            "failed",
            status=status,
            sentence=sentence,
            request_id=downstream.request_id,
            client=downstream.client,
        )
        navigation = head is not None and origin.is_navigation(head)
        return pages.error(
            status, sentence, navigation=navigation, request_id=downstream.request_id
        )
