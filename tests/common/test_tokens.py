"""Tokens are good for one bearer, one audience and one time."""

from __future__ import annotations

import json

import pytest

from common.clock import SteppingClock
from common.tokens import (
    AGENT_AUDIENCE,
    EDGE_AUDIENCE,
    AgentClaims,
    EdgeClaims,
    InvalidTokenError,
    TokenSigner,
    TokenVerifier,
    generate_key,
)


def agent_claims(
    signer: TokenSigner, *, seconds: float = 60, aud: str = AGENT_AUDIENCE
) -> AgentClaims:
    now = signer.now()
    return AgentClaims(aud=aud, iat=now, exp=now + seconds, sid="0123abcd", run=2)


def pair() -> tuple[SteppingClock, TokenSigner, TokenVerifier]:
    clock = SteppingClock()
    signer = TokenSigner([generate_key("k1")], clock)
    return clock, signer, TokenVerifier(signer.public_keys(), clock)


def test_a_signed_token_gives_its_claims_back() -> None:
    _, signer, verifier = pair()
    claims = agent_claims(signer)
    assert verifier.verify(signer.sign(claims), AgentClaims, audience=AGENT_AUDIENCE) == claims


def test_a_token_is_refused_for_another_audience() -> None:
    _, signer, verifier = pair()
    token = signer.sign(agent_claims(signer, aud=EDGE_AUDIENCE))
    with pytest.raises(InvalidTokenError, match="somebody else"):
        verifier.verify(token, AgentClaims, audience=AGENT_AUDIENCE)


def test_a_token_is_refused_as_another_kind_of_claims() -> None:
    _, signer, verifier = pair()
    now = signer.now()
    token = signer.sign(EdgeClaims(aud=AGENT_AUDIENCE, iat=now, exp=now + 9, edge="e"))
    with pytest.raises(InvalidTokenError, match="not a token of ours"):
        verifier.verify(token, AgentClaims, audience=AGENT_AUDIENCE)


async def test_a_token_is_refused_once_it_has_expired_with_some_leeway_for_clocks() -> None:
    clock, signer, verifier = pair()
    token = signer.sign(agent_claims(signer, seconds=60))
    await clock.advance(89)
    verifier.verify(token, AgentClaims, audience=AGENT_AUDIENCE)
    await clock.advance(2)
    with pytest.raises(InvalidTokenError, match="expired"):
        verifier.verify(token, AgentClaims, audience=AGENT_AUDIENCE)


def test_tokens_of_an_older_key_stay_good_while_it_is_published() -> None:
    clock = SteppingClock()
    old_key, new_key = generate_key("old"), generate_key("new")
    old = TokenSigner([old_key], clock)
    token = old.sign(agent_claims(old))
    both = TokenVerifier(TokenSigner([new_key, old_key], clock).public_keys(), clock)
    both.verify(token, AgentClaims, audience=AGENT_AUDIENCE)
    newest = TokenVerifier(TokenSigner([new_key], clock).public_keys(), clock)
    with pytest.raises(InvalidTokenError):
        newest.verify(token, AgentClaims, audience=AGENT_AUDIENCE)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "\x00", "e30.e30.", "ü.ü.ü"])
def test_garbage_is_refused_without_a_crash(token: str) -> None:
    _, _, verifier = pair()
    with pytest.raises(InvalidTokenError):
        verifier.verify(token, AgentClaims, audience=AGENT_AUDIENCE)


def test_a_changed_token_and_an_unsigned_one_are_refused() -> None:
    _, signer, verifier = pair()
    head, body, signature = signer.sign(agent_claims(signer)).split(".")
    changed = body[:-2] + ("AA" if body[-2:] != "AA" else "BB")
    for forged in (f"{head}.{changed}.{signature}", f"eyJhbGciOiJub25lIn0.{body}."):
        with pytest.raises(InvalidTokenError):
            verifier.verify(forged, AgentClaims, audience=AGENT_AUDIENCE)


def test_what_is_published_holds_no_private_key() -> None:
    _, signer, _ = pair()
    (key,) = json.loads(signer.public_keys())["keys"]
    assert "d" not in key
    assert key["kid"] == "k1"


def test_a_verifier_without_keys_refuses_and_one_with_a_broken_document_says_so() -> None:
    clock, signer, _ = pair()
    with pytest.raises(InvalidTokenError, match="no signing keys"):
        TokenVerifier("", clock).verify("t", AgentClaims, audience=AGENT_AUDIENCE)
    for broken in ("{", "[]", '{"keys": [{"kty": "none"}]}'):
        with pytest.raises(InvalidTokenError, match="JWKS"):
            TokenVerifier(broken, clock)
    assert signer.public_keys()
