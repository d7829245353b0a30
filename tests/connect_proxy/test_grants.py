"""Which connect tokens are let in, and which aren't."""

from __future__ import annotations

import base64
import json

import pytest

from common.clock import SteppingClock
from common.ids import SessionId
from common.tokens import (
    AGENT_AUDIENCE,
    AgentClaims,
    ConnectClaims,
    StudioClaims,
    TokenSigner,
    TokenVerifier,
    connect_audience,
    generate_key,
    studio_audience,
)
from connect_proxy import grants as module
from connect_proxy.grants import Grants

HOST = "a1234abcd.studio.localhost:9191"
OTHER_HOST = "a5678ef01.studio.localhost:9191"
KEY = generate_key("k1")


class Bench:
    """A signer and what the edge makes of its tokens."""

    def __init__(self) -> None:
        self.clock = SteppingClock()
        self.signer = TokenSigner([KEY], self.clock)
        self.verifier = TokenVerifier(self.signer.public_keys(), self.clock)
        self.grants = Grants(self.verifier, self.clock)

    def token(
        self,
        host: str = HOST,
        *,
        seconds: float = 3600,
        sub: int = 7,
        av: int = 1,
        refused: str = "",
    ) -> str:
        now = self.signer.now()
        return self.signer.sign(
            ConnectClaims(
                aud=connect_audience(host),
                iat=now,
                exp=now + seconds,
                sub=sub,
                name="n",
                sid="x",
                av=av,
                refused=refused,
            )
        )


@pytest.fixture
def bench() -> Bench:
    return Bench()


def part(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_a_token_for_this_host_is_let_in_and_remembered(bench: Bench) -> None:
    token = bench.token()
    grant = bench.grants.find((token,), HOST)
    assert grant is not None
    assert grant.claims.sub == 7
    bench.verifier.load("")  # no key is needed any more
    assert bench.grants.find((token,), HOST) is grant
    assert bench.grants.find((token,), OTHER_HOST) is None


def test_the_first_valid_one_of_several_counts(bench: Bench) -> None:
    good = bench.token()
    for tokens in (("bad", good), (bench.token(OTHER_HOST), good, "x"), (good, bench.token(sub=8))):
        grant = bench.grants.find(tokens, HOST)
        assert grant is not None
        assert grant.token == good


def test_one_that_lets_in_now_beats_those_planted_before_it(bench: Bench) -> None:
    refused, old, good = bench.token(refused="No."), bench.token(av=1), bench.token(av=2)
    for tokens in ((refused, old, good), (good, refused, old), ("bad", old, refused, good)):
        grant = bench.grants.find(tokens, HOST, 2)
        assert grant is not None
        assert grant.token == good
    ranked = bench.grants.candidates((refused, old, "bad", good), HOST, 2)
    assert [grant.token for grant in ranked] == [good, old, refused]


async def test_a_token_ends_with_its_time_also_when_remembered(bench: Bench) -> None:
    token = bench.token(seconds=100)
    assert bench.grants.find((token,), HOST)
    await bench.clock.advance(99)
    assert bench.grants.find((token,), HOST)
    await bench.clock.advance(1)
    assert bench.grants.find((token,), HOST) is None
    assert Grants(bench.verifier, bench.clock).find((token,), HOST) is None


def test_a_token_is_renewed_from_half_its_life_on(bench: Bench) -> None:
    grant = bench.grants.find((bench.token(seconds=100),), HOST)
    assert grant is not None
    assert grant.renew_at == bench.grants.now() + 50


def test_tokens_for_something_else_are_not_let_in(bench: Bench) -> None:
    now = bench.signer.now()
    later = now + 3600
    sid = SessionId("1234abcd")
    foreign = TokenSigner([generate_key("k1")], bench.clock)
    claims = ConnectClaims(
        aud=connect_audience(HOST), iat=now, exp=later, sub=7, name="n", sid="x", av=1
    )
    wrong = {
        "agent": bench.signer.sign(
            AgentClaims(aud=AGENT_AUDIENCE, iat=now, exp=later, sid=sid, run=1)
        ),
        "agent for our audience": bench.signer.sign(
            AgentClaims(aud=connect_audience(HOST), iat=now, exp=later, sid=sid, run=1)
        ),
        "studio": bench.signer.sign(
            StudioClaims(aud=studio_audience(sid), iat=now, exp=later, sid=sid, scope="log")
        ),
        "another host": bench.token(OTHER_HOST),
        "a prefix of the host": bench.token(HOST[:-1]),
        "another signer's key of the same name": foreign.sign(claims),
        "over": bench.token(seconds=-31),
    }
    for what, token in wrong.items():
        assert bench.grants.find((token,), HOST) is None, what


def test_forged_and_malformed_tokens_are_not_let_in(bench: Bench) -> None:
    header, payload, signature = bench.token().split(".")
    admin = part({**json.loads(base64.urlsafe_b64decode(payload + "==")), "sub": 1})
    headers: list[object] = [
        {"alg": "none"},
        {"alg": "HS256", "kid": "k1"},
        {"alg": "EdDSA", "kid": "k1"},
        {"alg": "ES256", "kid": "k1"},
        {"alg": ["Ed25519"], "kid": "k1"},
        {"alg": {"a": 1}, "kid": "k1"},
        {"alg": None, "kid": "k1"},
        {"kid": "k1"},
        {"alg": "Ed25519", "kid": "k2"},
        {"alg": "Ed25519", "kid": 1},
        {"alg": "Ed25519", "kid": ["k1"]},
        {"alg": "Ed25519", "kid": "k1", "crit": ["x"]},
        {"alg": "Ed25519", "kid": "k1", "crit": 1},
        {"alg": "Ed25519", "kid": "k1", "crit": None},
        {"alg": "Ed25519", "kid": "k1", "crit": ["b64"], "b64": False},
        {"alg": "Ed25519", "kid": "k1", "jwk": {}, "jku": 7, "x5c": 1, "typ": 5, "zip": "DEF"},
        ["Ed25519"],
        "Ed25519",
        1,
        None,
        b"\xff\xfe",
        b"[" * 20_000,
        b'{"alg":' * 5_000,
        b'{"alg":"Ed25519","kid":"k1","n":' + b"9" * 5_000 + b"}",
    ]
    forged = [
        f"{part(h)}.{p}.{s}" for h in headers for p in (payload, admin) for s in (signature, "")
    ]
    forged += [
        "", ".", "..", "...", "a.b.c", "é.é.é", "\x00", "\x00.\x00.\x00", "a" * 60_000,
        "." * 60_000,
        f"{header}.{admin}.{signature}",
        f"{header}.{payload}.",
        f"{header}.{payload}.{signature[:-4]}",
        f"{header}.{payload}.{'!' * 86}",
        f"{header}.{payload}.{signature}.x",
        f"{header}.{payload}.{signature}.x.y",
        f"{header}.{part(b'[' * 20_000)}.{signature}",
        f"{part({'alg': 'dir', 'enc': 'A128GCM', 'kid': 'k1'})}.a.b.c.d",
    ]  # fmt: skip
    for token in forged:
        assert bench.grants.find((token,), HOST) is None, token[:100]


def test_what_is_remembered_is_limited_and_the_least_used_goes_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REMEMBERED_MAX", 3)
    tokens = [bench.token(sub=n) for n in range(4)]
    for token in tokens[:3]:
        bench.grants.find((token,), HOST)
    bench.grants.find((tokens[0],), HOST)
    bench.grants.find((tokens[3],), HOST)
    remembered = [token for token, _ in bench.grants._grants]
    assert remembered == [tokens[2], tokens[0], tokens[3]]
