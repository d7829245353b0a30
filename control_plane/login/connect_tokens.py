"""Connect tokens: what a person's cookie on a session's host holds. Made for edges only."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.ids import SessionId, UserId, parse_session_id
from common.tokens import (
    ConnectClaims,
    InvalidTokenError,
    TokenSigner,
    TokenVerifier,
    connect_audience,
)
from control_plane.errors import InvalidError
from control_plane.login.gates import NotLoggedInError
from control_plane.login.redirects import parse_session_host

if TYPE_CHECKING:
    from control_plane.login.codes import LoginCodes
    from control_plane.model import ConnectDecision
    from control_plane.service import StudioService
    from control_plane.store import Store

LIFE_SECONDS = 3600.0
"""The edge renews it quietly; a token that is lost is worth something for so long."""
REFUSAL_LIFE_SECONDS = 60.0
"""“No” is asked again soon: access may have been given meanwhile."""


@dataclass(frozen=True, slots=True)
class ConnectTokens:
    """Makes connect tokens from codes and from older tokens."""

    codes: LoginCodes
    service: StudioService
    store: Store
    signer: TokenSigner
    verifier: TokenVerifier
    connect_domain: str

    async def redeem(self, code: str, host: str) -> str:
        """Return a token for the code's person at `host`."""
        session_id = parse_session_host(host, self.connect_domain)
        if session_id is None:
            raise InvalidError(f"{host!r} is no session's host below {self.connect_domain}.")
        user_id = await self.codes.redeem(code, host)
        if user_id is None:
            raise NotLoggedInError(
                "The login code was used, is older than a minute or is for another host: "
                "open the Studio again."
            )
        decision = await self.service.connect_decision(user_id, session_id)
        token = self._sign(decision, session_id, host)
        if decision.exists and not decision.refused:
            async with self.store.write() as transaction:
                await transaction.audit(
                    "studio_session_connected",
                    at=self.codes.clock.now(),
                    actor_id=user_id,
                    session_id=session_id,
                )
        return token

    async def renew(self, token: str) -> str:
        """Return a fresh token for the bearer of a valid one."""
        try:
            session_id = _unverified_session(token)
            host = f"a{session_id}.{self.connect_domain}"
            claims = self.verifier.verify(token, ConnectClaims, audience=connect_audience(host))
        except InvalidTokenError as error:
            raise NotLoggedInError(f"This token can’t be renewed, {error}: log in again.") from None
        decision = await self.service.connect_decision(UserId(claims.sub), session_id)
        return self._sign(decision, session_id, host)

    def _sign(self, decision: ConnectDecision, session_id: SessionId, host: str) -> str:
        if decision.person is None:
            raise NotLoggedInError("This person is no member any more: ask an Owner or Admin.")
        lasting = decision.exists and not decision.refused
        now = self.signer.now()
        return self.signer.sign(
            ConnectClaims(
                aud=connect_audience(host),
                iat=now,
                exp=now + (LIFE_SECONDS if lasting else REFUSAL_LIFE_SECONDS),
                sub=decision.person.id,
                name=decision.person.name,
                sid=session_id,
                av=decision.access_version,
                refused=decision.refused,
            )
        )


def _unverified_session(token: str) -> SessionId:
    """Read which session a token claims to be for; its audience, and so the check, follows."""
    try:
        payload = token.split(".")[1]
        claims: Any = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return parse_session_id(claims["sid"])
    except (
        IndexError,
        KeyError,
        TypeError,
        ValueError,  # includes UnicodeDecodeError, JSONDecodeError
        RecursionError,
        binascii.Error,
    ):
        raise InvalidTokenError("it is no connect token") from None
