"""Header rules of an intermediary: which fields end here and are not passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.http1.head import tokens

if TYPE_CHECKING:
    from collections.abc import Collection

    from common.http1.head import Headers, RequestHead, ResponseHead

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"upgrade",
    )
)
"""RFC 9110, section 7.6.1. Transfer-Encoding is not here: bodies are passed on as they came."""

FRAMING = frozenset((b"content-length", b"transfer-encoding"))

_NEVER_NAMED = frozenset((b"host", b"content-length", b"transfer-encoding", b"cookie"))
"""Fields `Connection: <name>` can't remove: framing and routing aren't the sender's to hide."""


def end_to_end(head: RequestHead | ResponseHead, drop: Collection[bytes] = frozenset()) -> Headers:
    """Return the fields to pass on: not hop-by-hop, not named by Connection, not in `drop`."""
    if not drop and HOP_BY_HOP.isdisjoint(head.fields):
        return list(head.headers)  # the usual case, between our own hops
    connection = head.fields.get(b"connection")
    named: frozenset[bytes] = frozenset()
    if connection is not None:
        named = frozenset(tokens(connection)) - _NEVER_NAMED
    kept = []
    for header in head.headers:
        key = header[0].lower()
        if key not in HOP_BY_HOP and key not in named and key not in drop:
            kept.append(header)
    return kept
