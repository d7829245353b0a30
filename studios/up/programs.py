"""What `studios up` knows of the two programs that it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from common.secret import Secret

if TYPE_CHECKING:
    from common.clock import Clock
    from studios.up.plan import Plan


EndUnrecorded = Callable[[str], Awaitable[bool]]
"""Has the engine end a session when the control plane can write nothing down. Asked again and
again; says whether nothing of the session is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What a ready control plane hands out."""

    admin_token: Secret
    edge_token: Secret
    end_unrecorded: EndUnrecorded


IssueKeys = Callable[[Secret | None], Awaitable[Keys]]
"""Takes the administrator's token of an earlier time, and keeps it if it is still good."""


class Programs(Protocol):
    """Both run until cancelled, and call `ready` once they serve."""

    async def control_plane(
        self, plan: Plan, clock: Clock, ready: Callable[[IssueKeys], None]
    ) -> None: ...

    async def edge(
        self, plan: Plan, clock: Clock, edge_token: Secret, ready: Callable[[], None]
    ) -> None: ...
