"""Responses made by the edge or gateway itself."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from http import HTTPStatus

from common.http1.head import Headers, write_response


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole response. `close` ends the connection after it."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    close: bool = False

    def write(self, *, head_only: bool = False, close: bool = False) -> bytes:
        """Return its bytes; `head_only` for answers to HEAD."""
        headers: Headers = [*self.headers]
        if self.status not in (204, 304):
            headers.append((b"Content-Length", b"%d" % len(self.body)))
        if self.close or close:
            headers.append((b"Connection", b"close"))
        head = write_response(self.status, reason_phrase(self.status), headers)
        return head if head_only else head + self.body


def reason_phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Unknown"


_NO_STORE = (b"Cache-Control", b"no-store")
_PAGE_POLICY = (
    b"Content-Security-Policy",
    b"default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; "
    b"frame-ancestors 'self'",
)

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--paper:#f6f7f9;--card:#fff;
--line:#d8dee4;--accent:#0b5fff}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa4af;--paper:#0d1117;--card:#161b22;
--line:#30363d;--accent:#6ea0ff}}
*{box-sizing:border-box}body{margin:0;min-height:100vh;display:grid;place-items:center;
background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,sans-serif;padding:1.5rem}
main{max-width:34rem;width:100%;background:var(--card);border:1px solid var(--line);
border-radius:12px;padding:2rem 2.25rem}
h1{font-size:1.3rem;line-height:1.3;margin:0 0 .6rem}p{margin:.4rem 0}small{color:var(--soft)}
a.action{display:inline-block;margin-top:1rem;padding:.5rem 1rem;border-radius:8px;
background:var(--accent);color:#fff;text-decoration:none;font-weight:600}
@media(prefers-color-scheme:dark){a.action{color:#0d1117}}
.bar{height:3px;border-radius:2px;margin-top:1.4rem;background:linear-gradient(90deg,transparent,
var(--accent),transparent);background-size:40% 100%;background-repeat:no-repeat;
animation:slide 1.6s linear infinite}
@keyframes slide{from{background-position:-40% 0}to{background-position:140% 0}}
@media(prefers-reduced-motion:reduce){.bar{animation:none;background:var(--line)}}
"""


@dataclass(frozen=True, slots=True)
class Action:
    """A link on a page that helps further."""

    label: str
    url: str


def page(
    status: int,
    title: str,
    sentence: str,
    *,
    request_id: str = "",
    refresh_seconds: int | None = None,
    action: Action | None = None,
    close: bool = False,
) -> Reply:
    """Return a small self-contained HTML page that says what happened and what to do next."""
    refresh = (
        ""
        if refresh_seconds is None
        else f'<meta http-equiv="refresh" content="{refresh_seconds}">'
    )
    link = (
        ""
        if action is None
        else f'<a class="action" href="{html.escape(action.url)}">{html.escape(action.label)}</a>'
    )
    bar = '<div class="bar" role="presentation"></div>' if refresh else ""
    note = f"<p><small>Request {html.escape(request_id)}</small></p>" if request_id else ""
    body = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{refresh}'
        '<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body><main>"
        f'<h1>{html.escape(title)}</h1><p role="status">{html.escape(sentence)}</p>'
        f"{link}{bar}{note}</main></body></html>"
    )
    headers = [(b"Content-Type", b"text/html; charset=utf-8"), _NO_STORE, _PAGE_POLICY]
    if refresh_seconds is not None:
        headers.append((b"Retry-After", b"%d" % refresh_seconds))
    return Reply(status, tuple(headers), body.encode(), close=close)


def message(
    status: int,
    sentence: str,
    *,
    request_id: str = "",
    retry_after_seconds: int | None = None,
    close: bool = False,
) -> Reply:
    """Return the JSON form of an error, for everything that isn't a person navigating."""
    headers = [(b"Content-Type", b"application/json"), _NO_STORE]
    if retry_after_seconds is not None:
        headers.append((b"Retry-After", b"%d" % retry_after_seconds))
    content = {"message": sentence}
    if request_id:
        content["requestId"] = request_id
    return Reply(status, tuple(headers), json.dumps(content).encode() + b"\n", close=close)


def redirect(location: str, *cookies: bytes) -> Reply:
    """Return a 302 that no cache keeps, setting `cookies` (whole Set-Cookie values)."""
    headers = [(b"Location", location.encode()), _NO_STORE]
    headers += [(b"Set-Cookie", cookie) for cookie in cookies]
    return Reply(302, tuple(headers))
