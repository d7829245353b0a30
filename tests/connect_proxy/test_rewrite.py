"""The fields that go on to a session are ours where they speak for us, else the client's."""

from __future__ import annotations

import pytest

from common.http1.head import RequestHead, parse_request, parse_response
from common.tokens import ConnectClaims
from connect_proxy import rewrite

CLAIMS = ConnectClaims(aud="a", iat=0, exp=0, sub=7, name="Ada", sid="1234abcd", av=1)
OURS = {
    b"x-forwarded-for": b"192.0.2.7",
    b"x-forwarded-proto": b"http",
    b"x-forwarded-host": b"a.b:9191",
    b"forwarded": b'for=192.0.2.7;proto=http;host="a.b:9191"',
    b"x-request-id": b"0123456789abcdef",
    b"x-connect-sub": b"7",
    b"x-connect-user": b"Ada",
}


def rewritten(
    *fields: bytes,
    cookies: bytes = b"",
    client: str = "192.0.2.7",
    claims: ConnectClaims | None = CLAIMS,
) -> RequestHead:
    lines = [b"GET /x%2F?y HTTP/1.1", b"Host: a.b:9191", *fields, b"", b""]
    data = rewrite.to_session(
        parse_request(b"\r\n".join(lines)),
        cookies=cookies,
        client=client,
        scheme=b"http",
        request_id="0123456789abcdef",
        claims=claims,
    )
    assert data.startswith(b"GET /x%2F?y HTTP/1.1\r\n")
    return parse_request(data)


def test_the_edge_says_who_asks_from_where() -> None:
    head = rewritten()
    assert head.headers[0] == (b"Host", b"a.b:9191")
    assert {name: head.fields[name] for name in OURS} == OURS
    assert len(head.headers) == 1 + len(OURS)


SPEAK_FOR_US = [
    b"X-Forwarded-For",
    b"X-Forwarded-Host",
    b"X-Forwarded-Proto",
    b"X-Forwarded-Port",
    b"X-Forwarded-User",
    b"X-Forwarded-Email",
    b"Forwarded",
    b"X-Real-IP",
    b"X-Request-ID",
    b"X-Connect-User",
    b"X-Connect-Sub",
    b"X-Connect-Anything",
]


@pytest.mark.parametrize("name", SPEAK_FOR_US)
@pytest.mark.parametrize("spell", [bytes, bytes.lower, bytes.upper], ids=["", "lower", "upper"])
@pytest.mark.parametrize("underscores", [False, True])
def test_what_a_client_sends_under_our_names_is_dropped(
    name: bytes, spell: object, underscores: bool
) -> None:
    assert callable(spell)
    sent = spell(name)
    if underscores:  # WSGI and CGI read X_Connect_User as X-Connect-User
        sent = sent.replace(b"-", b"_")
    for fields in (
        [sent + b": forged"],
        [sent + b": forged", sent + b": forged"],
        [b"Connection: " + sent, sent + b": forged"],
    ):
        head = rewritten(*fields)
        assert b"forged" not in b"".join(value for _, value in head.headers)
        assert {key: head.fields[key] for key in OURS} == OURS


def test_connection_can_not_remove_what_we_add() -> None:
    names = b", ".join(OURS) + b", host, cookie"
    head = rewritten(b"Connection: " + names, cookies=b"a=1")
    assert {key: head.fields[key] for key in OURS} == OURS
    assert head.fields[b"cookie"] == b"a=1"
    assert b"connection" not in head.fields


def test_the_tool_s_own_fields_pass_in_order() -> None:
    fields = [
        b"authorization: Bearer mine",
        b"X-XSRF: 1",
        b"x-a_b: 2",
        b"X-XSRF: 3",
        b"Origin: http://x",
    ]
    head = rewritten(*fields, cookies=b"a=1; b=2")
    assert [b"%b: %b" % pair for pair in head.headers[1:6]] == fields
    assert head.headers[6] == (b"Cookie", b"a=1; b=2")


def test_hop_by_hop_fields_end_and_only_a_websocket_s_upgrade_goes_on() -> None:
    head = rewritten(b"Connection: X-A, Upgrade", b"X-A: 1", b"Upgrade: h2c", b"TE: trailers")
    assert not {b"connection", b"x-a", b"upgrade", b"te"} & head.fields.keys()
    head = rewritten(b"Connection: keep-alive, Upgrade", b"Upgrade: WebSocket")
    assert head.is_websocket
    assert head.fields[b"connection"] == b"Upgrade"


def test_nobody_is_named_on_the_platform_s_own_calls() -> None:
    assert not {b"x-connect-sub", b"x-connect-user"} & rewritten(claims=None).fields.keys()


def test_an_ipv6_client_is_written_as_rfc_7239_wants_it() -> None:
    head = rewritten(client="2001:db8::1")
    assert head.fields[b"x-forwarded-for"] == b"2001:db8::1"
    assert head.fields[b"forwarded"].startswith(b'for="[2001:db8::1]";')


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Ada Lovelace", b"Ada Lovelace"),
        ("a\r\nX-Connect-Sub: 1", b"a??X-Connect-Sub: 1"),
        ("a\nb\0c\x7f\t", b"a?b?c??"),
        ("\u010cern\u00fd", b"?ern?"),
        ("\u560a\u560d", b"??"),
        ("", b""),
        ("x" * 10_000, b"x" * 200),
    ],
)
def test_a_person_s_name_can_not_become_a_field(name: str, expected: bytes) -> None:
    claims = ConnectClaims(aud="a", iat=0, exp=0, sub=7, name=name, sid="1234abcd", av=1)
    head = rewritten(claims=claims)
    assert head.fields[b"x-connect-user"] == expected
    assert head.fields[b"x-connect-sub"] == b"7"
    assert len(head.headers) == 1 + len(OURS)


def test_the_platform_gets_its_cookies_and_no_forged_client() -> None:
    cookies = b"Cookie: studio-page=1\r\nX-Forwarded-For: 1\r\nCookie: b=2\r\n"
    lines = b"GET / HTTP/1.1\r\nHost: a\r\n" + cookies + b"\r\n"
    data = rewrite.to_platform(
        parse_request(lines), client="192.0.2.7", scheme=b"https", request_id="1"
    )
    head = parse_request(data)
    assert head.all(b"cookie") == [b"studio-page=1"]
    assert head.all(b"x-forwarded-for") == [b"192.0.2.7"]
    assert head.all(b"x-forwarded-proto") == [b"https"]


def response(*fields: bytes) -> list[tuple[bytes, bytes]]:
    head = parse_response(b"\r\n".join([b"HTTP/1.1 200 OK", *fields, b"", b""]))
    return rewrite.from_session(
        head, set_cookies=(b"ours=1",), frame_ancestors=b"frame-ancestors x"
    )


def test_responses_keep_their_fields_and_get_our_cookie() -> None:
    fields = [b"Set-Cookie: a=1", b"set-cookie: b=2", b"Location: /x", b"Content-Encoding: br"]
    got = [b"%b: %b" % pair for pair in response(*fields, b"Connection: X-A", b"X-A: 1")]
    assert got == [*fields, b"Set-Cookie: ours=1"]


@pytest.mark.parametrize(
    ("kind", "framed"),
    [
        (b"text/html", True),
        (b"text/html; charset=utf-8", True),
        (b"Text/HTML", True),
        (b"application/xhtml+xml", True),
        (b"image/svg+xml", True),
        (b"text/plain", False),
        (b"application/json", False),
    ],
)
def test_documents_may_be_framed_by_the_platform_only(kind: bytes, framed: bool) -> None:
    got = response(b"Content-Type: " + kind, b"Content-Security-Policy: default-src 'self'")
    policies = [value for name, value in got if name == b"Content-Security-Policy"]
    assert policies == [b"default-src 'self'"] + [b"frame-ancestors x"] * framed
