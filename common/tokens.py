"""Signed tokens: the control plane signs, edges and agents check with its published public keys.

Every token names its audience, so none can be used in another's place:

| audience              | bearer                    | may                                        |
|-----------------------|---------------------------|--------------------------------------------|
| `agent`               | one run of one session    | park tunnels, report status                |
| `edge`                | an edge                   | read the feed, redeem and renew            |
| `connect:<host>`      | a person, in a cookie     | use the session there, if not refused      |
| `studio:<session id>` | control plane or its user | `/.studio/<scope>` of that session         |

Ed25519 (RFC 8037): small, fast to check, no parameters to get wrong.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OKPKey

if TYPE_CHECKING:
    from common.clock import Clock
    from common.ids import SessionId

_ALGORITHMS = ["Ed25519"]
LEEWAY_SECONDS = 30.0
"""Clocks of hosts under NTP differ less; a minute-long code isn't stretched much."""

AGENT_AUDIENCE = "agent"
EDGE_AUDIENCE = "edge"


def connect_audience(host: str) -> str:
    return f"connect:{host}"


def studio_audience(session_id: SessionId) -> str:
    return f"studio:{session_id}"


class InvalidTokenError(Exception):
    """The token is not one of ours, not for this audience, or over. The text says which."""


class _Claims(msgspec.Struct, frozen=True, kw_only=True):
    """`aud` audience, `exp` and `iat` seconds since the epoch (RFC 7519, section 4.1)."""

    aud: str
    iat: float
    exp: float


class AgentClaims(_Claims, frozen=True, kw_only=True):
    """One run's agent."""

    sid: str
    run: int


class EdgeClaims(_Claims, frozen=True, kw_only=True):
    """An edge."""

    edge: str


class ConnectClaims(_Claims, frozen=True, kw_only=True):
    """A person at a session. `refused` is empty when they may connect, else the reason to show."""

    sub: int
    name: str
    sid: str
    av: int
    """The session's access version at signing."""
    refused: str = ""


class StudioClaims(_Claims, frozen=True, kw_only=True):
    """A call of the session's reserved `/.studio/` endpoints, for `scope` only."""

    sid: str
    scope: str
    sub: str = ""
    jti: str = ""
    """What tells this token from all others; empty where one may be used more than once."""


C = TypeVar("C", bound=_Claims)


def generate_key(key_id: str) -> str:
    """Return a new private key as a JSON Web Key; it belongs in the database, nowhere else."""
    key = OKPKey.generate_key("Ed25519", {"kid": key_id, "use": "sig"}, private=True)
    return json.dumps(key.as_dict(private=True))


class TokenSigner:
    """Signs with the newest of the control plane's keys."""

    def __init__(self, private_keys: list[str], clock: Clock) -> None:
        """Take private JWKs, newest first; older ones are only published."""
        assert private_keys, "a signer needs a key"
        self._keys = [OKPKey.import_key(json.loads(text)) for text in private_keys]
        self._clock = clock

    def public_keys(self) -> str:
        """Return the JWKS document that verifiers load."""
        return json.dumps({"keys": [key.as_dict(private=False) for key in self._keys]})

    def now(self) -> float:
        return self._clock.now().timestamp()

    def sign(self, claims: _Claims) -> str:
        key = self._keys[0]
        header = {"alg": _ALGORITHMS[0], "kid": key.kid}
        return jwt.encode(header, msgspec.to_builtins(claims), key, algorithms=_ALGORITHMS)


class TokenVerifier:
    """Checks signature, audience and time. Holds public keys only."""

    def __init__(self, jwks: str, clock: Clock) -> None:
        """Take a JWKS document; an empty string knows no key and refuses everything."""
        self._clock = clock
        self._keys = KeySet([])
        self.key_ids: frozenset[str] = frozenset()
        self.load(jwks)

    def load(self, jwks: str) -> None:
        """Replace the keys; raises InvalidTokenError when `jwks` is no such document."""
        document: Any
        try:
            document = json.loads(jwks) if jwks else {"keys": []}
            self._keys = KeySet([OKPKey.import_key(key) for key in document["keys"]])
        except (ValueError, KeyError, TypeError, JoseError) as error:
            raise InvalidTokenError(f"not a JWKS document: {error}") from None
        self.key_ids = frozenset(key.kid for key in self._keys.keys if key.kid)

    def verify(self, token: str, kind: type[C], *, audience: str) -> C:
        """Return the claims of a token that is ours, in time and for `audience`."""
        if not self.key_ids:
            raise InvalidTokenError("no signing keys are known yet")
        try:
            decoded = jwt.decode(token, self._keys, algorithms=_ALGORITHMS)
            claims = msgspec.convert(decoded.claims, kind)
        except (JoseError, msgspec.ValidationError, ValueError, TypeError) as error:
            # TypeError: joserfc doesn't check the types of all header fields before it uses them.
            raise InvalidTokenError(f"not a token of ours: {error}") from None
        if claims.aud != audience:
            raise InvalidTokenError("the token is for somebody else")
        if self._clock.now().timestamp() > claims.exp + LEEWAY_SECONDS:
            raise InvalidTokenError("the token has expired")
        return claims
