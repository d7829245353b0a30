"""Which requests count as use of the session. Pure.

An open tab polls: JupyterLab asks for kernels, sessions and contents every ten seconds with nobody
there. So reading in the background is no use; opening a page and changing something is. WebSockets
count by their data frames, see `common.http1.websocket`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.http1.head import RequestHead

_READS = frozenset((b"GET", b"HEAD", b"OPTIONS"))


def reason(head: RequestHead) -> str:
    """Return why this request counts as use, or an empty string."""
    if head.method not in _READS:
        return f"{head.method.decode()} request"
    if head.fields.get(b"sec-fetch-mode") == b"navigate":
        return "page opened"
    return ""
