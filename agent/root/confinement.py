"""What every session is refused, and what each profile gives back. Tables; nothing is done here.

The profile `default` is a container engine's: the tool is root inside and hostile, and the
container around it is privileged, so the session must not be. The profile `docker` is for container
engines inside the session. They mount and make namespaces, so it gives back what keeps a root user
from the machine, and it says so: it is for sessions whose user could be root there anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ProfileName = Literal["default", "docker"]

CAPABILITY_NUMBERS = {
    "chown": 0,
    "dac_override": 1,
    "fowner": 3,
    "fsetid": 4,
    "kill": 5,
    "setgid": 6,
    "setuid": 7,
    "setpcap": 8,
    "net_bind_service": 10,
    "net_admin": 12,
    "net_raw": 13,
    "sys_chroot": 18,
    "sys_admin": 21,
    "sys_resource": 24,
    "mknod": 27,
    "audit_write": 29,
    "setfcap": 31,
}
"""linux/capability.h, as far as a profile uses them."""

DEFAULT_CAPABILITIES = frozenset(
    {
        "chown",
        "dac_override",
        "fowner",
        "fsetid",
        "kill",
        "setgid",
        "setuid",
        "setpcap",
        "net_bind_service",
        "net_raw",
        "sys_chroot",
        "mknod",
        "audit_write",
        "setfcap",
    }
)
"""Docker's 14: apt, pip, sudo, su, ping, terminals and JupyterLab run with exactly these."""

NEEDS_OWN_NETWORK = frozenset({"net_raw", "net_admin"})
"""On a loopback shared with the agent, NET_RAW reads the tunnel's token off the wire."""

DEVICES = ("full", "null", "random", "tty", "urandom", "zero")
"""Single nodes bound into the session's /dev; it gets terminals of its own."""

GRAPHICS_DEVICES = ("nvidia", "dri/", "kfd", "dxg")
"""How the names of graphics processors begin."""

MASKED_PATHS = (
    "/proc/acpi",
    "/proc/allocinfo",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/iomem",
    "/proc/ioports",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/latency_stats",
    "/proc/pagetypeinfo",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/slabinfo",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/tty/driver",
    "/proc/vmallocinfo",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
"""What container engines cover with nothing, and what only the machine's root may read: to the
kernel a session's root is that, and accounts of all memory tell one session about another."""

READ_ONLY_PATHS = (
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",  # root without any capability could write core_pattern, which is the host
    "/proc/sysrq-trigger",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a session may."""

    name: ProfileName
    capabilities: frozenset[str]
    devices: tuple[str, ...]
    namespaces: bool
    """Are mounts and new namespaces allowed, user namespaces among them?"""
    gives_up: tuple[str, ...] = ()
    """Sentences for the status."""


PROFILES: dict[ProfileName, Profile] = {
    "default": Profile(
        name="default", capabilities=DEFAULT_CAPABILITIES, devices=DEVICES, namespaces=False
    ),
    "docker": Profile(
        name="docker",
        capabilities=DEFAULT_CAPABILITIES | {"sys_admin", "net_admin", "sys_resource"},
        devices=(*DEVICES, "fuse", "net/tun"),
        namespaces=True,
        gives_up=(
            "The profile docker lets this session mount file systems and make namespaces: "
            "its root user can reach what the machine's root can.",
        ),
    ),
}
