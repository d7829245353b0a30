"""What happens to one request at the gateway.

The edge has authorised it. Below `/.studio/` the agent answers itself, for bearers of a token with
the right scope, which is checked here again: the edge could be another one tomorrow. Until the tool
answers there is a holding page. Everything else goes to the tool as it came.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

import structlog

from agent.gateway import rewrite, use
from agent.gateway.connection import TunnelConnection
from agent.gateway.stream import StreamedBody
from common.http1.head import write_response
from common.http1.join import join
from common.http1.lane import DialledLane
from common.http1.replies import Reply, message, page, reason_phrase
from common.http1.site import Decision, Forward, Later, Switch
from common.http1.websocket import FrameTap
from common.tokens import InvalidTokenError, StudioClaims, studio_audience

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.activity import Activity
    from agent.exec.execs import Execs
    from agent.reserved import Answer, Reserved
    from common.http1.head import RequestHead
    from common.http1.lane import Address
    from common.http1.relay import Downstream
    from common.http1.upstream import Upstream
    from common.ids import SessionId
    from common.tasks import TaskBag
    from common.tokens import TokenVerifier

_log = structlog.get_logger()
_RESERVED = b"/.studio/"
EXEC_PATH = "/.studio/exec"
_HOLDING_REFRESH_SECONDS = 1


class GatewaySite:
    """Decides for every request; see the module."""

    idle_seconds_max = math.inf
    """Parked connections have no limit here: the edge decides how long it keeps them."""

    def __init__(
        self,
        *,
        session_id: SessionId,
        studio_name: str,
        tool_address: Address,
        is_ready: Callable[[], bool],
        progress: Callable[[], str],
        reserved: Reserved,
        execs: Execs,
        activity: Activity,
        verifier: TokenVerifier,
        tasks: TaskBag,
    ) -> None:
        self.tasks = tasks
        self.lane = DialledLane(tool_address, name="The tool")
        self.requests = 0
        self.refusing = False
        self._audience = studio_audience(session_id)
        self._studio_name = studio_name
        self._is_ready = is_ready
        self._progress = progress
        self._reserved = reserved
        self._execs = execs
        self._activity = activity
        self._verifier = verifier

    def opened(self, downstream: Downstream) -> None:
        """Connections are kept by their tunnel."""

    def closed(self, downstream: Downstream) -> None:
        if isinstance(downstream, TunnelConnection):
            downstream.end.gone(downstream)

    def decide(self, downstream: Downstream, head: RequestHead) -> Decision:
        downstream.request_id = head.fields.get(b"x-request-id", b"").decode("latin-1")
        if head.target.startswith(_RESERVED):
            return self._own(head)
        if self.refusing:
            return self._holding(head, "The session is being stopped.", refresh=False)
        if not self._is_ready():
            return self._holding(head, self._progress(), refresh=True)
        self.requests += 1
        counts = use.reason(head)
        if counts:
            self._activity.note(counts)
        forward = Forward(self.lane, rewrite.to_tool(head), rewrite.from_tool)
        if head.is_websocket:
            forward.joined = self._join
        return forward

    def _holding(self, head: RequestHead, sentence: str, *, refresh: bool) -> Reply:
        if b"text/html" not in head.fields.get(b"accept", b""):
            return message(503, sentence, retry_after_seconds=_HOLDING_REFRESH_SECONDS)
        return page(
            503,
            f"{self._studio_name} is starting" if refresh else f"{self._studio_name} is stopping",
            sentence,
            refresh_seconds=_HOLDING_REFRESH_SECONDS if refresh else None,
        )

    def _join(
        self, client: Downstream, upstream: Upstream, from_client: bytes, from_server: bytes
    ) -> None:
        frames = FrameTap()
        activity = self._activity

        def tap(data: bytes) -> None:
            if frames.scan(data):
                activity.note("WebSocket data")

        activity.websocket_opened()
        join(
            client.transport,
            upstream.release_transport(),
            from_client=from_client,
            from_server=from_server,
            tap_client=tap,
            on_end=activity.websocket_closed,
        )

    # ── the agent's own endpoints ────────────────────────────────────────────

    def _own(self, head: RequestHead) -> Decision:
        kind, _, token = head.fields.get(b"authorization", b"").partition(b" ")
        if kind.lower() != b"bearer":
            return message(401, "A token for this session is needed here.")
        try:
            claims = self._verifier.verify(
                token.strip().decode("latin-1"), StudioClaims, audience=self._audience
            )
        except InvalidTokenError as error:
            return message(401, f"{error}".capitalize() + ".")
        path = unquote(head.path.decode("latin-1"))
        if claims.scope != path.removeprefix(_RESERVED.decode()).partition("/")[0]:
            return message(403, f"This token is for {claims.scope!r} only.")
        if path == EXEC_PATH:
            return self._execs.decide(head, claims)
        query = dict(parse_qsl(head.target.partition(b"?")[2].decode("latin-1")))
        return Later(self._answer(head.method.decode(), path, query))

    async def _answer(self, method: str, path: str, query: dict[str, str]) -> Reply | Switch:
        answer: Answer = await self._reserved.answer(method, path, query)
        kind = (b"Content-Type", answer.content_type.encode())
        if isinstance(answer.body, bytes):
            return Reply(answer.status, (kind, (b"Cache-Control", b"no-store")), answer.body)
        head = write_response(
            answer.status, reason_phrase(answer.status), [kind, (b"Connection", b"close")]
        )
        return Switch(head, StreamedBody(answer.body, self.tasks).take_over)

    def failure(
        self, downstream: Downstream, head: RequestHead | None, status: int, sentence: str
    ) -> Reply:
        _log.info(
            "request_failed", status=status, sentence=sentence, request_id=downstream.request_id
        )
        if head is not None and b"text/html" in head.fields.get(b"accept", b""):
            return page(
                status, "The tool doesn't answer", sentence, request_id=downstream.request_id
            )
        return message(status, sentence, request_id=downstream.request_id)
