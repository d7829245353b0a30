"""Which system calls a session may make. Pure; `seccomp_filter` compiles it.

It is Docker's deny list, turned round when it is compiled: all calls that libseccomp knows by name
are allowed but those refused here. A call that it doesn't know fails with ENOSYS, as on an older
kernel, so that one added to the kernel tomorrow is not allowed before somebody has thought about
it.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.root.confinement import Profile

NAMESPACE_FLAGS = 0x7E020000
"""CLONE_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID and _NEWNET."""
AF_PACKET = 17
AF_ALG = 38
AF_VSOCK = 40
AF_MAX = 46
"""One more than the last family that a kernel knows."""
SOCKET_FAMILIES = frozenset(range(AF_MAX)) - {AF_PACKET, AF_ALG, AF_VSOCK}
"""All but packets as they are on the wire, whose rings are memory that no cgroup counts; the
kernel's ciphers, the source of many holes; and the machine below this one, which no namespace
divides. ping needs none of them."""
ADDR_NO_RANDOMIZE = 0x0040000
PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF, ADDR_NO_RANDOMIZE)
"""Docker's, and what every debugger sets for the program that it starts."""

_INT = 0xFFFFFFFF

NAMESPACE_CALLS = frozenset(
    {
        "fsconfig",
        "fsmount",
        "fsopen",
        "fspick",
        "mount",
        "mount_setattr",
        "move_mount",
        "open_tree",
        "pivot_root",
        "setns",
        "umount",
        "umount2",
        "unshare",
    }
)
"""What makes and changes mounts and namespaces."""

REFUSED_CALLS = frozenset(
    {
        # the kernel itself
        "create_module",
        "delete_module",
        "finit_module",
        "get_kernel_syms",
        "init_module",
        "kexec_file_load",
        "kexec_load",
        "query_module",
        "reboot",
        # the machine's clock, swap, accounting, quota, log, ports
        "acct",
        "clock_adjtime",
        "clock_adjtime64",
        "clock_settime",
        "clock_settime64",
        "ioperm",
        "iopl",
        "nfsservctl",
        "quotactl",
        "quotactl_fd",
        "settimeofday",
        "stime",
        "swapoff",
        "swapon",
        "syslog",
        "vhangup",
        # ways round a mount or a process's walls
        "fanotify_init",
        "kcmp",
        "lookup_dcookie",
        "open_by_handle_at",
        # not divided by namespaces
        "add_key",
        "keyctl",
        "request_key",
        # large, and the source of many holes
        "bpf",
        "io_uring_enter",
        "io_uring_register",
        "io_uring_setup",
        "perf_event_open",
        "userfaultfd",
        # memory policies of the machine
        "get_mempolicy",
        "mbind",
        "migrate_pages",
        "move_pages",
        "set_mempolicy",
        "set_mempolicy_home_node",
        # long dead
        "_sysctl",
        "sysfs",
        "uselib",
        "ustat",
        "vm86",
        "vm86old",
    }
)


@dataclass(frozen=True, slots=True)
class MaskedEqual:
    """Holds if the argument's bits in `mask` are exactly `value`."""

    argument: int
    mask: int
    value: int


@dataclass(frozen=True, slots=True)
class Equal:
    """Holds if the argument is `value`."""

    argument: int
    value: int


Condition = MaskedEqual | Equal


@dataclass(frozen=True, slots=True)
class SeccompProfile:
    """Every call that libseccomp knows is allowed but these."""

    refused: Mapping[str, int]
    """The error that a call fails with, always."""
    conditional: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)
    """Calls that are allowed if one of the conditions holds, and fail with ENOSYS otherwise."""


def seccomp_profile(profile: Profile) -> SeccompProfile:
    refused = dict.fromkeys(REFUSED_CALLS, errno.EPERM)
    conditional: dict[str, tuple[Condition, ...]] = {
        "personality": tuple(Equal(0, value) for value in PERSONALITIES),
        # A filter compares 64 bits where the kernel takes 32: `not 40` lets 2**32 + 40 through.
        "socket": tuple(MaskedEqual(0, _INT, family) for family in sorted(SOCKET_FAMILIES)),
    }
    if profile.namespaces:
        for name in ("add_key", "keyctl", "request_key", "bpf"):  # runc uses them
            del refused[name]
    else:
        refused |= dict.fromkeys(NAMESPACE_CALLS, errno.EPERM)
        # Its flags lie in memory, where a filter can't look; libraries then use clone.
        refused["clone3"] = errno.ENOSYS
        conditional["clone"] = (MaskedEqual(0, NAMESPACE_FLAGS, 0),)
    return SeccompProfile(refused, conditional)
