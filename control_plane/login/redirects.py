"""Where a login may send the browser: paths of the page, and hosts of sessions, nothing else.

An address that reaches a `Location` header unchecked is an open redirect: a link on our own name
that ends on somebody else's. Both questions are answered by allowing a form, not by refusing bad
ones.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from common.ids import SessionId

PATH_LENGTH_MAX = 8192  # longer than any address browsers keep; short of header limits

_HOME = "/"
_PATH = re.compile(r"/[!-\[\]-~]*", re.ASCII)
_SESSION_LABEL = re.compile(r"a(?P<id>[0-9a-f]{8})", re.ASCII)


def parse_path(text: str) -> str | None:
    """Return `text` if it is a path on the same host, else None.

    Exactly one leading slash (`//evil` is another host), no backslash (browsers read it as a
    slash), printable ASCII only (browsers strip some control characters before they parse; the
    rest of Unicode travels percent-encoded).
    """
    if text.startswith("//") or len(text) > PATH_LENGTH_MAX:
        return None
    return text if _PATH.fullmatch(text) else None


def path_or_home(text: str) -> str:
    """Return `text` as in `parse_path`, or the page's own start."""
    return parse_path(text) or _HOME


def parse_session_host(host: str, connect_domain: str) -> SessionId | None:
    """Return the session a host belongs to, or None unless it is `a<8 hex>.<connect_domain>`."""
    label, dot, domain = host.partition(".")
    match = _SESSION_LABEL.fullmatch(label)
    if match is None or not dot or domain != connect_domain:
        return None
    return SessionId(match["id"])


def login_path(then: str) -> str:
    """Return the login page's address that leads on to `then`."""
    return f"/login?next={quote(then, safe='')}"
