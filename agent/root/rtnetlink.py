"""Links, addresses and routes by rtnetlink(7): a dozen messages instead of a program per step.

Images need no `ip` for it, and the session's network is there in a millisecond. The message
builders are pure; `Netlink` sends them in the network namespace that it was made in.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address, IPv4Interface, IPv4Network

_NEWLINK, _NEWADDRESS, _NEWROUTE = 16, 20, 24
_REQUEST, _ACK, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x200, 0x400
_ERROR = 2

# Attributes: linux/if_link.h, if_addr.h, rtnetlink.h, veth.h
_IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_AF_SPEC, _IFLA_NET_NS_FD = 3, 4, 18, 26, 28
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_IFLA_INET_CONF = 1
_VETH_INFO_PEER = 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DESTINATION, _RTA_GATEWAY = 1, 5

_IFF_UP = 1
_TABLE_MAIN = 254
_PROTOCOL_STATIC = 4
_SCOPE_UNIVERSE = 0
_TYPE_UNICAST, _TYPE_UNREACHABLE = 1, 7
_ALIGNMENT = 4
_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBi")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ANSWER_BYTES_MAX = 65536

FORWARDING = 1
"""IPV4_DEVCONF_FORWARDING: pass packets on that come in here."""
PROXY_ARP = 3
"""IPV4_DEVCONF_PROXY_ARP: answer for those that are reached through this machine."""


# ── Messages (pure) ──────────────────────────────────────────────────────────


def _attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + b"\0" * (-length % _ALIGNMENT)


def _name(name: str) -> bytes:
    return _attribute(_IFLA_IFNAME, name.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))


def new_pair(name: str, peer: str, *, peer_network_fd: int, mtu_bytes: int) -> tuple[int, bytes]:
    """Build: make two joined interfaces, the peer in another network namespace."""
    other = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    other += _name(peer) + _number(_IFLA_MTU, mtu_bytes) + _number(_IFLA_NET_NS_FD, peer_network_fd)
    info = _attribute(_IFLA_INFO_KIND, b"veth\0")
    info += _attribute(_IFLA_INFO_DATA, _attribute(_VETH_INFO_PEER, other))
    link = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    return _NEWLINK, link + _name(name) + _number(_IFLA_MTU, mtu_bytes) + _attribute(
        _IFLA_LINKINFO, info
    )


def link_up(index: int, settings: Mapping[int, int] | None = None) -> tuple[int, bytes]:
    """Build: switch an interface on, with settings of its IPv4 side."""
    body = _LINK.pack(socket.AF_UNSPEC, 0, index, _IFF_UP, _IFF_UP)
    if settings:
        values = b"".join(_number(kind, value) for kind, value in settings.items())
        inet = _attribute(socket.AF_INET, _attribute(_IFLA_INET_CONF, values))
        body += _attribute(_IFLA_AF_SPEC, inet)
    return _NEWLINK, body


def new_address(index: int, address: IPv4Interface) -> tuple[int, bytes]:
    """Build: give an interface an address."""
    body = _ADDRESS.pack(socket.AF_INET, address.network.prefixlen, 0, _SCOPE_UNIVERSE, index)
    packed = address.ip.packed
    return _NEWADDRESS, body + _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)


def default_route(gateway: IPv4Address) -> tuple[int, bytes]:
    """Build: send everything else to `gateway`."""
    body = _route(0, _TYPE_UNICAST)
    return _NEWROUTE, body + _attribute(_RTA_GATEWAY, gateway.packed)


def unreachable_route(network: IPv4Network) -> tuple[int, bytes]:
    """Build: answer packets to `network` with an error."""
    body = _route(network.prefixlen, _TYPE_UNREACHABLE)
    return _NEWROUTE, body + _attribute(_RTA_DESTINATION, network.network_address.packed)


def _route(prefix_length: int, kind: int) -> bytes:
    return _ROUTE.pack(
        socket.AF_INET, prefix_length, 0, 0, _TABLE_MAIN, _PROTOCOL_STATIC, _SCOPE_UNIVERSE, kind, 0
    )


# ── Sending ──────────────────────────────────────────────────────────────────


class Netlink:
    """A conversation with the kernel about the network namespace it was opened in."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, message: tuple[int, bytes], *, create: bool = False) -> None:
        """Have it done, or raise OSError. `create`: it must not be there yet."""
        kind, body = message
        self._sequence += 1
        flags = _REQUEST | _ACK | (_CREATE | _EXCLUSIVE if create else 0)
        head = _HEADER.pack(_HEADER.size + len(body), kind, flags, self._sequence, 0)
        self._socket.send(head + body)
        answer = self._socket.recv(_ANSWER_BYTES_MAX)
        _, answered, _, sequence, _ = _HEADER.unpack_from(answer)
        assert answered == _ERROR and sequence == self._sequence  # noqa: PT018 - one fact
        number = -struct.unpack_from("=i", answer, _HEADER.size)[0]
        if number:
            raise OSError(number, os.strerror(number), "rtnetlink")
