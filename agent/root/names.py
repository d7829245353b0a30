"""How names are resolved in a session: its own /etc/hosts, hostname and resolv.conf. Pure."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address

from agent.root.addresses import OUTBOUND_RESOLVER, UNREACHABLE

_NAMESERVERS_MAX = 3  # more are ignored by every resolver


def hosts_file(text: str, hostname: str) -> str:
    """Return the host's file with the session's own name in it, or every sudo complains."""
    ended = text if text.endswith("\n") or not text else text + "\n"
    return f"{ended}127.0.1.1\t{hostname}\n"


def resolv_conf(text: str, *, own_network: bool) -> str:
    """Return a resolver configuration that works in the session.

    On a network of its own it can't reach a resolver on the host's loopback, nor one at an address
    where clouds keep their metadata: the outbound side asks those in its place.
    """
    if not own_network:
        return text
    servers: list[str] = []
    rest: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] != ["nameserver"]:
            rest.append(line)
        elif len(words) > 1:
            server = words[1] if _reachable(words[1]) else str(OUTBOUND_RESOLVER)
            if server not in servers:
                servers.append(server)
    chosen = servers[:_NAMESERVERS_MAX] or [str(OUTBOUND_RESOLVER)]
    lines = [*(f"nameserver {server}" for server in chosen), *rest]
    return "".join(f"{line}\n" for line in lines)


def _reachable(server: str) -> bool:
    try:
        address = IPv4Address(server)
    except AddressValueError:  # IPv6 is not passed on
        return False
    blocked = any(address in network for network in UNREACHABLE)
    return not (address.is_loopback or address.is_unspecified or blocked)
