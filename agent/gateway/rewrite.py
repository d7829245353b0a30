"""Header fields on the way to the tool and back. Pure."""

from __future__ import annotations

from common.http1.fields import end_to_end
from common.http1.head import Headers, RequestHead, ResponseHead, write_request


def to_tool(head: RequestHead) -> bytes:
    """Return the request head for the tool: target, Host and everything end-to-end as it came."""
    headers = end_to_end(head)
    if head.is_websocket:
        headers += ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))
    return write_request(head.method, head.target, head.minor_version, headers)


def from_tool(head: ResponseHead) -> Headers:
    """Return the response's fields for the edge."""
    return end_to_end(head)
