"""Reads the headers of WebSocket frames that pass by (RFC 6455, section 5.2), for activity.

Nothing is changed, buffered or checked: the bytes have been passed on already. A tap that loses its
place (which a correct peer can't cause) only misjudges activity.
"""

from __future__ import annotations

_DATA_OPCODES = (0x0, 0x1, 0x2)  # continuation, text, binary; pings, pongs and close are not use


class FrameTap:
    """Follows one direction of a WebSocket. `scan` says whether a data frame began in `data`."""

    __slots__ = ("_header", "_left")

    def __init__(self) -> None:
        self._header = b""
        self._left = 0

    def scan(self, data: bytes) -> bool:
        """Take the next bytes of the stream; return whether a data frame began in them."""
        position, end, found = 0, len(data), False
        while position < end:
            if self._left:
                step = min(self._left, end - position)
                self._left -= step
                position += step
                continue
            missing = self._missing()
            self._header += data[position : position + missing]
            position += missing
            if not self._missing():
                found = found or (self._header[0] & 0x0F) in _DATA_OPCODES
                self._left = self._payload_length()
                self._header = b""
        return found

    def _missing(self) -> int:
        """Return how many bytes the frame's header still lacks, as far as can be told."""
        header = self._header
        if len(header) < 2:
            return 2 - len(header)
        short = header[1] & 0x7F
        size = 2 + (4 if header[1] & 0x80 else 0) + {126: 2, 127: 8}.get(short, 0)
        return size - len(header)

    def _payload_length(self) -> int:
        short = self._header[1] & 0x7F
        if short == 126:
            return int.from_bytes(self._header[2:4], "big")
        if short == 127:
            return int.from_bytes(self._header[2:10], "big")
        return short
