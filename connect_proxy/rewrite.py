"""The header fields that go on to the session, and those that come back. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.http1.fields import HOP_BY_HOP, end_to_end
from common.http1.head import Headers, RequestHead, ResponseHead, tokens, write_request

if TYPE_CHECKING:
    from common.tokens import ConnectClaims

_OURS = (b"x-forwarded-", b"x-connect-")
_OURS_EXACT = frozenset((b"forwarded", b"x-real-ip", b"x-request-id", b"cookie"))
_NEVER_NAMED = frozenset((b"host", b"content-length", b"transfer-encoding"))
_DOCUMENTS = (b"text/html", b"application/xhtml+xml", b"image/svg+xml")
_NAME_BYTES_MAX = 200
_PAGE_COOKIES = (b"studio-page=", b"__Host-studio-page=")
_PAGE_COOKIE_BYTES_MAX = 512
_PAGE_COOKIES_MAX = 8
_VISIBLE = bytes(byte if 0x20 <= byte < 0x7F else 0x3F for byte in range(256))
"""Turns everything a field must not contain into question marks."""


def to_session(
    head: RequestHead,
    *,
    cookies: bytes,
    client: str,
    scheme: bytes,
    request_id: str,
    claims: ConnectClaims | None,
) -> bytes:
    """Return the request head to send down a tunnel: `docs/tunnel-protocol.md` lists the fields.

    What a client sends under the names that speak for us is dropped, whatever the spelling;
    `cookies` are the tool's. Without `claims` (the platform's own calls) nobody is named.
    """
    named: frozenset[bytes] = frozenset()
    connection = head.fields.get(b"connection")
    if connection is not None:
        named = frozenset(tokens(connection)) - _NEVER_NAMED
    headers: Headers = []
    for header in head.headers:
        key = header[0].lower()
        # WSGI and CGI don't tell `_` from `-`: X_Connect_User would arrive as X-Connect-User.
        spoken = key.replace(b"_", b"-")
        if key in HOP_BY_HOP or key in named or spoken in _OURS_EXACT or spoken.startswith(_OURS):
            continue
        headers.append(header)
    host = head.fields.get(b"host", b"")
    address = client.encode()
    node = b'"[%b]"' % address if b":" in address else address
    if cookies:
        headers.append((b"Cookie", cookies))
    headers += (
        (b"X-Forwarded-For", address),
        (b"X-Forwarded-Proto", scheme),
        (b"X-Forwarded-Host", host),
        (b"Forwarded", b'for=%b;proto=%b;host="%b"' % (node, scheme, host)),
        (b"X-Request-Id", request_id.encode()),
    )
    if claims is not None:
        headers.append((b"X-Connect-Sub", b"%d" % claims.sub))
        name = claims.name[:_NAME_BYTES_MAX].encode("ascii", "replace").translate(_VISIBLE)
        headers.append((b"X-Connect-User", name))
    if head.is_websocket:
        headers += ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))
    return write_request(head.method, head.target, head.minor_version, headers)


def to_platform(head: RequestHead, *, client: str, scheme: bytes, request_id: str) -> bytes:
    """Return the request head to send to the control plane, with its own cookies only.

    A session's page can set cookies for the whole domain: enough of them and the control plane
    would refuse the head of everybody who visited it.
    """
    return to_session(
        head,
        cookies=_page_cookies(head.all(b"cookie")),
        client=client,
        scheme=scheme,
        request_id=request_id,
        claims=None,
    )


def _page_cookies(fields: list[bytes]) -> bytes:
    pairs = (pair.strip() for field in fields for pair in field.split(b";"))
    ours = [
        pair
        for pair in pairs
        if pair.startswith(_PAGE_COOKIES) and len(pair) <= _PAGE_COOKIE_BYTES_MAX
    ]
    return b"; ".join(ours[:_PAGE_COOKIES_MAX])


def from_session(
    head: ResponseHead, *, set_cookies: tuple[bytes, ...], frame_ancestors: bytes
) -> Headers:
    """Return the fields of a response to a browser.

    Pages get a further content security policy, which adds to the tool's own: only the session and
    the platform's page may put them in a frame, a sibling session can't.
    """
    headers = end_to_end(head)
    if head.fields.get(b"content-type", b"").lower().startswith(_DOCUMENTS):
        headers.append((b"Content-Security-Policy", frame_ancestors))
    headers += [(b"Set-Cookie", cookie) for cookie in set_cookies]
    return headers
