"""The session's small network, as numbers. See `network` for what it looks like. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

SESSION_INTERFACE = "eth0"
SESSION_ADDRESS = IPv4Interface("10.0.3.2/24")
ROUTER_INTERFACE = "session0"
ROUTER_ADDRESS = IPv4Interface("10.0.3.1/24")
OUTBOUND_INTERFACE = "outbound0"
OUTBOUND_GATEWAY = IPv4Address("10.0.2.2")
"""slirp4netns itself; it answers pings."""
OUTBOUND_RESOLVER = IPv4Address("10.0.2.3")
"""Where slirp4netns passes name queries on to the host's resolver."""
LOOPBACK_NAME = "lo"
MTU_BYTES = 65520  # no wire is involved: the fewer packets the better

UNREACHABLE = (
    IPv4Network("169.254.0.0/16"),  # the machine's metadata: AWS, Google, Azure, ECS
    IPv4Network("168.63.129.16/32"),  # Azure's host
    IPv4Network("100.100.100.200/32"),  # Alibaba's metadata
    IPv4Network("192.0.0.192/32"),  # Oracle's
)
"""Credentials of the machine are to be had there, which are not the session's."""
