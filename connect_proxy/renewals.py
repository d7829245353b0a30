"""Fresh connect tokens for old ones.

A page that loads sends a hundred requests with the same old cookie: the control plane is asked
once, and the others get the same answer. While it doesn't answer, requests don't wait for it again
and again: an old token will do as long as nobody's rights have changed.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from connect_proxy.control_plane import ControlPlaneUnavailableError, TokenRefusedError

if TYPE_CHECKING:
    from common.tasks import TaskBag
    from connect_proxy.control_plane import ControlPlane
    from connect_proxy.grants import Grant, Grants

_AWAY_SECONDS = 10.0
_REMEMBERED_MAX = 8192


class Renewals:
    """See the module."""

    def __init__(self, control_plane: ControlPlane, grants: Grants, tasks: TaskBag) -> None:
        self._control_plane = control_plane
        self._grants = grants
        self._tasks = tasks
        self._asking: dict[str, asyncio.Task[Grant | None]] = {}
        self._fresh: OrderedDict[str, Grant] = OrderedDict()
        self._away_until = 0.0

    async def renew(self, grant: Grant, host: str, access_version: int) -> Grant | None:
        """Return a grant that is young and not signed before `access_version`.

        Returns `grant` itself while the control plane is away, None if it refuses.
        """
        fresh = self._fresh.get(grant.token)
        if fresh is not None and self._will_do(fresh, access_version):
            return fresh
        stale = grant.claims.av < access_version
        if not stale and self._grants.now() < self._away_until:
            return grant
        asking = self._asking.get(grant.token)
        if asking is None:
            asking = self._tasks.spawn(self._ask(grant, host), name="renew")
            self._asking[grant.token] = asking
            asking.add_done_callback(lambda _: self._asking.pop(grant.token, None))
        # Shielded: the others wait for the answer too when the first to ask goes away.
        return await asyncio.shield(asking)

    def _will_do(self, fresh: Grant, access_version: int) -> bool:
        return fresh.claims.av >= access_version and self._grants.now() < fresh.renew_at

    async def _ask(self, grant: Grant, host: str) -> Grant | None:
        try:
            token = await self._control_plane.renew(grant.token)
        except ControlPlaneUnavailableError:
            self._away_until = self._grants.now() + _AWAY_SECONDS
            return grant
        except TokenRefusedError:
            return None
        self._away_until = 0.0
        fresh = self._grants.check(token, host)
        if fresh is not None:
            self._fresh[grant.token] = fresh
            if len(self._fresh) > _REMEMBERED_MAX:
                self._fresh.popitem(last=False)
        return fresh
