"""What a host may lack, one thing at a time, and how that is to be told."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

from agent.preflight.facts import Trial
from agent.root.confinement import CAPABILITY_NUMBERS
from agent.volume.image import HOST_RESERVE_BYTES
from common.findings import Verdict
from tests.agent.preflight.host import GOOD, ROOMY

ROOM_BYTES_MIN = ROOMY.initial_bytes + HOST_RESERVE_BYTES
MISSING, WEAKER = Verdict.MISSING, Verdict.WEAKER


def without(*capabilities: str) -> frozenset[int]:
    return GOOD.capabilities - {CAPABILITY_NUMBERS[name] for name in capabilities}


def calls(error: int, *names: str) -> dict[str, int]:
    assert set(names) <= set(GOOD.calls)
    return {**GOOD.calls, **dict.fromkeys(names, error)}


def place(**changes: Any) -> dict[str, Any]:
    return {"place": replace(ROOMY, **changes)}


def trial(name: str, trial: Trial) -> dict[str, Any]:
    return {"trials": {**(GOOD.trials or {}), name: trial}}


TABLE: list[tuple[dict[str, Any], Verdict, str, str, str, str]] = [
    # what is changed, verdict, need, what gives it to: machine, docker, kubernetes
    ({"user_id": 1000}, MISSING, "root", "sudo", "--user 0", "runAsUser: 0"),
    (
        {"in_user_namespace": True},
        MISSING,
        "machine's user namespace",
        "leave",
        "--userns host",
        "hostUsers: true",
    ),
    (
        {"capabilities": without("sys_admin")},
        MISSING,
        "SYS_ADMIN",
        "as root",
        "--cap-add SYS_ADMIN",
        "capabilities.add: [SYS_ADMIN]",
    ),
    (
        {"capabilities": without("mknod", "audit_write")},
        MISSING,
        "capabilities",
        "as root",
        "--cap-add AUDIT_WRITE --cap-add MKNOD",
        "add: [AUDIT_WRITE, MKNOD]",
    ),
    (
        {"capabilities": without("net_admin")},
        WEAKER,
        "NET_ADMIN",
        "as root",
        "--cap-add NET_ADMIN",
        "add: [NET_ADMIN]",
    ),
    (
        {"capabilities": without("sys_resource")},
        WEAKER,
        "SYS_RESOURCE",
        "as root",
        "--cap-add SYS_RESOURCE",
        "add: [SYS_RESOURCE]",
    ),
    (
        {"calls": calls(errno.ENOSYS, "close_range")},
        MISSING,
        "system calls",
        "kernel of 5.12",
        "kernel of 5.12",
        "kernel of 5.12",
    ),
    (
        {"calls": calls(errno.EPERM, "mount", "keyctl"), "filtered": True},
        MISSING,
        "system calls",
        "SystemCallFilter",
        "--security-opt seccomp=unconfined",
        "seccompProfile.type: Unconfined",
    ),
    (
        {"calls": calls(errno.EACCES, "mount"), "confined_by": "docker-default"},
        MISSING,
        "system calls",
        "aa-disable",
        "--security-opt apparmor=unconfined",
        "appArmorProfile.type: Unconfined",
    ),
    (
        {"calls": calls(errno.EACCES, "mount"), "confined_by": "system_u:system_r:container_t:s0"},
        MISSING,
        "system calls",
        "domain",
        "--security-opt label=disable",
        "seLinuxOptions.type: spc_t",
    ),
    (
        {"file_systems": {"btrfs": errno.ENODEV, "overlay": 0}},
        MISSING,
        "btrfs",
        "modprobe btrfs",
        "on the host: modprobe btrfs",
        "on the host: modprobe btrfs",
    ),
    (
        {"file_systems": {"btrfs": errno.ENODEV, "overlay": 0, "xfs": 0, "ext4": 0}},
        WEAKER,
        "btrfs",
        "modprobe btrfs",
        "on the host: modprobe btrfs",
        "on the host: modprobe btrfs",
    ),
    (
        {
            "file_systems": {"btrfs": 0, "overlay": 0, "xfs": errno.ENODEV, "ext4": 0},
            "programs": GOOD.programs - {"mkfs.btrfs"},
        },
        WEAKER,
        "mkfs.btrfs",
        "apt-get install btrfs-progs",
        "apt-get install btrfs-progs",
        "apt-get install btrfs-progs",
    ),
    (
        {"file_systems": {"btrfs": errno.ENODEV, "overlay": 0, "xfs": 0, "ext4": 0}}
        | place(has_volume=True, volume_kind="btrfs"),
        MISSING,
        "btrfs",
        "modprobe btrfs",
        "on the host: modprobe btrfs",
        "on the host: modprobe btrfs",
    ),
    (
        {"file_systems": {"btrfs": 0, "overlay": 0, "xfs": errno.ENODEV}}
        | place(has_volume=True, volume_kind="xfs"),
        MISSING,
        "xfs",
        "modprobe xfs",
        "on the host: modprobe xfs",
        "on the host: modprobe xfs",
    ),
    (
        {"file_systems": {"btrfs": 0, "overlay": errno.ENODEV}},
        MISSING,
        "overlay",
        "modprobe overlay",
        "on the host: modprobe overlay",
        "on the host: modprobe overlay",
    ),
    (
        {"namespaces": {**GOOD.namespaces, "pid": 0}},
        MISSING,
        "pid namespaces",
        "sysctl user.max_pid_namespaces",
        "on the host: sysctl user.max_pid",
        "on the host: sysctl user.max_pid",
    ),
    (
        {"namespaces": {k: v for k, v in GOOD.namespaces.items() if k != "uts"}},
        MISSING,
        "uts namespaces",
        "a kernel",
        "a kernel",
        "a kernel",
    ),
    (
        {"namespaces": {**GOOD.namespaces, "net": 0}},
        WEAKER,
        "network namespaces",
        "sysctl user.max_net_namespaces",
        "on the host: sysctl",
        "on the host: sysctl",
    ),
    (
        {"namespaces": {k: v for k, v in GOOD.namespaces.items() if k != "net"}},
        WEAKER,
        "network namespaces",
        "a kernel",
        "a kernel",
        "a kernel",
    ),
    (
        {"has_seccomp_library": False},
        MISSING,
        "libseccomp",
        "apt-get install libseccomp2",
        "apt-get install libseccomp2",
        "apt-get install libseccomp2",
    ),
    ({"machine": "riscv64"}, MISSING, "processor", "x86_64", "x86_64", "x86_64"),
    (
        {"loop_control": errno.ENOENT},
        MISSING,
        "loop devices",
        "modprobe loop",
        "--device /dev/loop-control",
        "privileged: true",
    ),
    (
        {"loop_node": errno.EPERM},
        MISSING,
        "loop devices' nodes",
        "DeviceAllow",
        "--device-cgroup-rule 'b 7:* rwm'",
        "privileged: true",
    ),
    (
        {"tunnel_device": errno.ENOENT},
        WEAKER,
        "/dev/net/tun",
        "modprobe tun",
        "--device /dev/net/tun",
        "privileged: true",
    ),
    (
        {"programs": GOOD.programs - {"mkfs.btrfs"}},
        MISSING,
        "mkfs.btrfs",
        "apt-get install btrfs-progs",
        "apt-get install btrfs-progs",
        "apt-get install btrfs-progs",
    ),
    (
        {"programs": GOOD.programs - {"slirp4netns"}},
        WEAKER,
        "slirp4netns",
        "apt-get install slirp4netns",
        "apt-get install slirp4netns",
        "apt-get install slirp4netns",
    ),
    (
        {"programs": GOOD.programs - {"setpriv"}},
        WEAKER,
        "setpriv",
        "apt-get install util-linux",
        "apt-get install util-linux",
        "apt-get install util-linux",
    ),
    (
        place(free_bytes=ROOM_BYTES_MIN - 1),
        MISSING,
        "room for a volume",
        "--data-dir",
        "--volume",
        "volume of the pod",
    ),
    (
        place(free_bytes=ROOM_BYTES_MIN - 1, has_sessions=True),
        WEAKER,
        "room for a volume",
        "--data-dir",
        "--volume",
        "volume of the pod",
    ),
    (place(kind="vfat"), MISSING, "sparse files", "ext4", "--volume", "volume of the pod"),
    (place(kind="tmpfs"), WEAKER, "disk of its own", "disk", "--volume", "volume of the pod"),
    (place(kind="overlay"), WEAKER, "disk of its own", "disk", "--volume", "volume of the pod"),
    (place(kind="nfs4"), WEAKER, "local disk", "local disk", "--volume", "volume of the pod"),
    (place(kind="fuse.sshfs"), WEAKER, "local disk", "local disk", "--volume", "volume"),
    (
        {"separate": ("/usr",)},
        MISSING,
        "one file system for the system",
        "--carry",
        "--carry",
        "--carry",
    ),
    (
        {"separate": ("/var",)},
        WEAKER,
        "one file system for the rest",
        "--carry",
        "--carry",
        "--carry",
    ),
    (
        {"limits": {**(GOOD.limits or {}), "memory": "there is no cgroup controller memory"}},
        WEAKER,
        "limit: memory",
        "cgroup_enable=memory",
        "writable-cgroups",
        "privileged: true",
    ),
    ({"kernel_log": errno.ENOENT}, WEAKER, "kernel's log", "as root", "--device /dev/kmsg", "priv"),
    (
        trial("mounts", Trial(failed_at="an overlay over /", error=errno.EINVAL, reason="Invalid")),
        MISSING,
        "mounts, tried",
        "dmesg",
        "dmesg",
        "dmesg",
    ),
    (
        trial("volume", Trial(failed_at="a mount of btrfs", error=errno.EACCES, reason="denied"))
        | {"confined_by": "docker-default"},
        MISSING,
        "volume, tried",
        "aa-disable",
        "apparmor=unconfined",
        "appArmorProfile",
    ),
    (
        trial("mounts", Trial(failed_at="a mount of proc", error=errno.EPERM, reason="refused"))
        | {"masked": True},
        MISSING,
        "mounts, tried",
        "uncover /proc",
        "systempaths=unconfined",
        "procMount: Unmasked",
    ),
    (
        trial("mounts", Trial(failed_at="a mount of tmpfs", error=errno.EPERM, reason="refused")),
        MISSING,
        "mounts, tried",
        "dmesg",
        "dmesg",
        "dmesg",
    ),
    (
        trial("way-out", Trial(failed_at="slirp4netns", reason="open tun: denied")),
        WEAKER,
        "way out, tried",
        "dmesg",
        "dmesg",
        "dmesg",
    ),
    (
        trial("volume", Trial(losses=("/srv allows no direct I/O",))),
        WEAKER,
        "direct I/O",
        "ext4",
        "--volume",
        "volume of the pod",
    ),
]
