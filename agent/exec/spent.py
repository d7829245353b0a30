"""Tokens that were used once, remembered until they would be refused anyway. Pure."""

from __future__ import annotations

from common.tokens import LEEWAY_SECONDS

TOKENS_MAX = 4096
"""Tokens live for a minute: nobody starts so many commands, and what is remembered is 1 MiB."""
ID_LENGTH_MAX = 64


class SpentTokens:
    """Those of one session. Times are seconds since the epoch."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def is_full(self, now: float) -> bool:
        """Whether no more can be remembered: then none may be accepted."""
        if len(self._until) >= TOKENS_MAX:
            self._until = {name: until for name, until in self._until.items() if until >= now}
        return len(self._until) >= TOKENS_MAX

    def spend(self, token_id: str, *, expires: float) -> bool:
        """Take a token; False if it was used before, or is one that can't be told from others."""
        if not 0 < len(token_id) <= ID_LENGTH_MAX or token_id in self._until:
            return False
        self._until[token_id] = expires + LEEWAY_SECONDS
        return True
