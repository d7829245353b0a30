"""What the daemon needs of gateway and tunnel, which know nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import random

    from agent.activity import Activity
    from agent.reserved import Reserved
    from common.clock import Clock
    from common.messages import TunnelStatus
    from common.secret import Secret
    from common.session_spec import SessionSpec
    from common.tokens import TokenVerifier


class Door(Protocol):
    """The gateway: requests from the tunnel to the tool."""

    @property
    def requests(self) -> int:
        """How many requests were forwarded so far."""
        ...

    def refuse_new(self) -> None:
        """Answer new requests with 503 from now on; those in progress go on."""
        ...

    async def run(self) -> None:
        """Keep its own house in order until cancelled."""
        ...

    async def close(self) -> None:
        """End what is left."""
        ...


class Road(Protocol):
    """The tunnel: connections parked at the edges."""

    async def run(self) -> None:
        """Keep connections parked until cancelled."""
        ...

    def status(self) -> TunnelStatus: ...

    def renew(self, token: Secret) -> None:
        """Use this token for connections from now on."""
        ...

    async def close(self) -> None:
        """End all connections."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What gateway and tunnel get from the daemon."""

    spec: SessionSpec
    is_ready: Callable[[], bool]
    progress: Callable[[], str]
    reserved: Reserved
    activity: Activity
    verifier: TokenVerifier
    clock: Clock
    rng: random.Random
    on_change: Callable[[], None]


Connect = Callable[[Wiring], tuple[Door, Road]]
"""Builds both."""
