"""May this page make this request? Pure.

Every session has an origin of its own, but siblings share a *site*: a browser sends SameSite=Lax
cookies, and WebSocket handshakes, from one session's page to another's host. So where a request
could do something, or its answer could be read, it must come from the session's own pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.http1.head import RequestHead

_SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS"))


def is_navigation(head: RequestHead) -> bool:
    """Whether a person is opening this address, so that an answer may be a page or a redirect."""
    if head.method not in (b"GET", b"HEAD") or head.is_websocket:
        return False
    mode = head.fields.get(b"sec-fetch-mode")
    if mode is not None:
        return mode == b"navigate"
    accept = head.fields.get(b"accept", b"")
    return b"text/html" in accept and b"x-requested-with" not in head.fields


def of_another_page(head: RequestHead, own_origin: bytes) -> str:
    """Return why a request with a bearer's token must not pass, or an empty string.

    Programs send neither field, and need not. Pages can't send such a token in a handshake, nor
    read an answer of another origin; this doesn't rely on it.
    """
    if b"origin" in head.fields or b"sec-fetch-site" in head.fields:
        return refusal(head, own_origin)
    return ""


def refusal(head: RequestHead, own_origin: bytes) -> str:
    """Return why the request must not pass, or an empty string.

    Unsafe methods and WebSockets need proof that they come from `own_origin`; for the others it is
    enough that nothing says they come from elsewhere.
    """
    origin = head.fields.get(b"origin")
    site = head.fields.get(b"sec-fetch-site")
    if origin is not None:
        if origin != own_origin:
            return f"The page at {origin.decode('latin-1')} may not call this session."
        return ""
    if head.method not in _SAFE or head.is_websocket:
        if site == b"same-origin":
            return ""
        return "The request does not say that it comes from this session's own page (Origin)."
    if site in (None, b"same-origin", b"none") or head.fields.get(b"sec-fetch-mode") == b"navigate":
        return ""
    return "Another site's page may link to this session, but not load anything from it."
