"""Where people and programs get their credentials; `ControlPlane.login` is one of these."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from common.secret import Secret
from common.tokens import EDGE_AUDIENCE, EdgeClaims, StudioClaims, TokenSigner, studio_audience
from control_plane.config import InvalidConfigError
from control_plane.model import LOCAL_ADMIN_NAME
from control_plane.store import Transaction

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from common.ids import SessionId, UserId
    from control_plane.login.api_tokens import ApiTokens
    from control_plane.login.links import LoginLinks
    from control_plane.model import Person
    from control_plane.service import StudioService

ADMIN_TOKEN_NAME = "studios up"
EDGE_TOKEN_LIFE_SECONDS = 366 * 86400.0
"""`studios up` issues a new one at each start; others are told by their administrator yearly."""
STUDIO_TOKEN_LIFE_SECONDS = 15 * 60.0
"""Checked when a request begins, so following a log may take longer."""
EXEC_TOKEN_LIFE_SECONDS = 60.0
"""It is used at once, and the session remembers it for so long: it is good for one command."""


@dataclass(frozen=True, slots=True)
class LoginDesk:
    """Hands out credentials; asks nobody whether it may."""

    database: AsyncEngine
    service: StudioService
    links: LoginLinks
    api_tokens: ApiTokens
    signer: TokenSigner
    public_url: str

    async def admin(self) -> Person:
        """Return the local administrator, who may have any role by now.

        Never somebody else in their place: an Owner added later would find the machine's
        administrator acting in their name.
        """
        person = await self.service.local_admin()
        if person is None:
            raise InvalidConfigError(
                f"The user {LOCAL_ADMIN_NAME}, whom this machine's own API token is for, is no "
                "member any more: an Owner must add them again."
            )
        return person

    async def login_link(
        self, user_id: UserId, *, actor_id: UserId | None = None, is_invitation: bool = False
    ) -> str:
        """Return a one-time address that logs this person in; see `LoginLinks.create`."""
        token = await self.links.create(user_id, actor_id=actor_id, is_invitation=is_invitation)
        return f"{self.public_url}/login?{urlencode({'token': token.reveal()})}"

    async def admin_token(self, existing: Secret | None = None) -> Secret:
        """Return the local administrator's API token: `existing` while it is good, or a new one.

        It does what its person's role allows now. If an Owner took that role away, the token goes
        on with less: nothing is granted anew here, another Owner has to.
        """
        if existing and await self.api_tokens.find(existing.reveal()) is not None:
            return existing
        admin = await self.admin()
        await self.api_tokens.revoke_named(admin.id, ADMIN_TOKEN_NAME)
        _, token = await self.api_tokens.create(admin.id, ADMIN_TOKEN_NAME)
        return token

    def issue_edge_token(self, edge_id: str) -> Secret:
        """Return the credential of an edge."""
        now = self.signer.now()
        return Secret(
            self.signer.sign(
                EdgeClaims(
                    aud=EDGE_AUDIENCE, iat=now, exp=now + EDGE_TOKEN_LIFE_SECONDS, edge=edge_id
                )
            )
        )

    def issue_studio_token(self, session_id: SessionId, scope: str, *, bearer: str) -> Secret:
        """Return a token for `/.studio/<scope>` of one session."""
        return self._sign_studio_token(session_id, scope, bearer, STUDIO_TOKEN_LIFE_SECONDS)

    async def issue_exec_token(self, session_id: SessionId, person: Person) -> Secret:
        """Return a token for one command in a session, and write down who got it."""
        token = self._sign_studio_token(
            session_id, "exec", person.name, EXEC_TOKEN_LIFE_SECONDS, secrets.token_urlsafe()
        )
        async with self.database.begin() as connection:
            await Transaction(connection).audit(
                "studio_session_exec",
                at=self.links.clock.now(),
                actor_id=person.id,
                session_id=session_id,
            )
        return token

    def _sign_studio_token(
        self, session_id: SessionId, scope: str, bearer: str, life_seconds: float, jti: str = ""
    ) -> Secret:
        now = self.signer.now()
        return Secret(
            self.signer.sign(
                StudioClaims(
                    aud=studio_audience(session_id),
                    iat=now,
                    exp=now + life_seconds,
                    sid=session_id,
                    scope=scope,
                    sub=bearer,
                    jti=jti,
                )
            )
        )
