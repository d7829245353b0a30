"""How much of something each client address holds. Pure."""

from __future__ import annotations

import ipaddress
from collections import Counter


def holder(address: str) -> str:
    """Return who `address` stands for: an IPv6 host owns its whole /64.

    Empty for loopback: that is this machine or a proxy on it, through which everybody comes.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        if mapped is None:
            return "" if parsed.is_loopback else str(ipaddress.ip_network((int(parsed), 64), False))
        parsed = mapped
    return "" if parsed.is_loopback else str(parsed)


class Shares:
    """Counts what each holder has; at most `each_max` for one, any number for the nameless."""

    def __init__(self, each_max: int) -> None:
        self._max = each_max
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._held)

    def take(self, name: str) -> bool:
        """Count one more, unless it would be too many."""
        if name and self._held[name] >= self._max:
            return False
        self._held[name] += 1
        return True

    def give_back(self, name: str) -> None:
        self._held[name] -= 1
        if not self._held[name]:
            del self._held[name]
