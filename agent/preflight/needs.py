"""What sessions need, what for, and who gives it. Tables; nothing is decided or done here.

A need with a `loss` can be done without, and the loss says what sessions then lack. In a container
`--privileged` is never needed: an engine's usual capabilities with SYS_ADMIN and NET_ADMIN are
enough, and devices can be given one by one. Pods have no field for single devices, and get them
only with everything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from common.findings import Remedies

_PRIVILEGED = "securityContext.privileged: true"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One thing that a host has or not; see `common.findings.Finding`."""

    name: str
    purpose: str
    remedies: Remedies
    loss: str = ""


Judged: TypeAlias = Iterator[tuple[Need, str]]
"""Needs, each with the problem with it: empty if it is met."""


def anywhere(remedy: str) -> Remedies:
    return Remedies(machine=remedy, docker=remedy, podman=remedy, kubernetes=remedy)


def _flag(flag: str, *, machine: str, kubernetes: str, podman: str | None = None) -> Remedies:
    return Remedies(machine=machine, docker=flag, podman=podman or flag, kubernetes=kubernetes)


def _package(name: str) -> Remedies:
    return anywhere(f"apt-get install {name}")


def _module(name: str) -> Remedies:
    on_host = f"on the host: modprobe {name}"
    return Remedies(machine=f"modprobe {name}", docker=on_host, podman=on_host, kubernetes=on_host)


# ── The agent itself ─────────────────────────────────────────────────────────

ROOT = Need(
    name="root",
    purpose="everything below",
    remedies=_flag("--user 0", machine="sudo", kubernetes="securityContext.runAsUser: 0"),
)
MACHINES_USERS = Need(
    name="machine's user namespace",
    purpose="mounting volumes",
    remedies=Remedies(
        machine="leave the user namespace",
        docker="--userns host",
        podman="run Podman as root: sudo podman",
        kubernetes="hostUsers: true",
    ),
)


def capabilities(name: str, purpose: str, missing: tuple[str, ...], *, loss: str = "") -> Need:
    """Return the need for capabilities; `missing` are the names of those to be asked for."""
    return Need(
        name=name,
        purpose=purpose,
        loss=loss,
        remedies=_flag(
            " ".join(f"--cap-add {capability}" for capability in missing),
            machine="run it as root with all capabilities, see capsh --print",
            kubernetes=f"securityContext.capabilities.add: [{', '.join(missing)}]",
        ),
    )


# ── The kernel ───────────────────────────────────────────────────────────────

KERNEL_VERSION_MIN = (5, 12)  # mount_setattr(2); loop devices by LOOP_CONFIGURE are of 5.8


def file_system(name: str, purpose: str, *, loss: str = "") -> Need:
    return Need(name=name, purpose=purpose, loss=loss, remedies=_module(name))


def namespaces(name: str, purpose: str, kind: str, *, loss: str = "") -> Need:
    setting = f"sysctl user.max_{kind}_namespaces=1024"
    return Need(
        name=name,
        purpose=purpose,
        loss=loss,
        remedies=Remedies(
            machine=setting,
            docker=f"on the host: {setting}",
            podman=f"on the host: {setting}",
            kubernetes=f"on the host: {setting}",
        ),
    )


def new_kernel(name: str, purpose: str) -> Need:
    version = ".".join(map(str, KERNEL_VERSION_MIN))
    return Need(name=name, purpose=purpose, remedies=anywhere(f"a kernel of {version} or newer"))


UNFILTERED = _flag(
    "--security-opt seccomp=unconfined",
    machine="lift the filter of whatever starts it (systemd: SystemCallFilter=)",
    kubernetes="securityContext.seccompProfile.type: Unconfined",
)
UNCONFINED_APPARMOR = _flag(
    "--security-opt apparmor=unconfined",
    machine="aa-disable the profile",
    kubernetes="securityContext.appArmorProfile.type: Unconfined",
)
UNCONFINED_SELINUX = _flag(
    "--security-opt label=disable",
    machine="run it in an unconfined domain",
    kubernetes="securityContext.seLinuxOptions.type: spc_t",
)
UNMASKED = _flag(
    "--security-opt systempaths=unconfined",
    podman="--security-opt unmask=ALL",
    machine="uncover /proc",
    kubernetes="securityContext.procMount: Unmasked",
)
UNKNOWN = anywhere("see what the kernel says: dmesg")

# ── Devices ──────────────────────────────────────────────────────────────────

LOOP_CONTROL = Need(
    name="loop devices",
    purpose="attaching volumes",
    remedies=_flag("--device /dev/loop-control", machine="modprobe loop", kubernetes=_PRIVILEGED),
)
LOOP_NODES = Need(
    name="loop devices' nodes",
    purpose="attaching volumes",
    remedies=_flag(
        "--device-cgroup-rule 'b 7:* rwm'",
        machine="allow b 7:* rwm in the device cgroup (systemd: DeviceAllow=block-loop rwm)",
        kubernetes=_PRIVILEGED,
    ),
)
TUNNEL = Need(
    name="/dev/net/tun",
    purpose="the way out to the network",
    loss="sessions have a network without a way out",
    remedies=_flag("--device /dev/net/tun", machine="modprobe tun", kubernetes=_PRIVILEGED),
)
KERNEL_LOG = Need(
    name="kernel's log",
    purpose="naming what was ended for want of memory",
    loss="a memory kill is counted, and not named",
    remedies=_flag(
        "--device /dev/kmsg --cap-add SYSLOG",
        machine="run it as root with all capabilities, see capsh --print",
        kubernetes=_PRIVILEGED,
    ),
)

# ── Programs ─────────────────────────────────────────────────────────────────

MKFS = Need(name="mkfs.btrfs", purpose="making volumes", remedies=_package("btrfs-progs"))
SECCOMP_LIBRARY = Need(
    name="libseccomp", purpose="the filter of system calls", remedies=_package("libseccomp2")
)
_NO_WAY_OUT = "sessions have a network without a way out"
SLIRP = Need(
    name="slirp4netns",
    purpose="the way out to the network",
    loss=_NO_WAY_OUT,
    remedies=_package("slirp4netns"),
)
SETPRIV = Need(
    name="setpriv",
    purpose="the way out to the network",
    loss=_NO_WAY_OUT,
    remedies=_package("util-linux"),
)
WAY_OUT_NEEDS = frozenset({TUNNEL.name, SLIRP.name, SETPRIV.name})
"""Without any of these, sessions have no way out."""

# ── Places and limits ────────────────────────────────────────────────────────


def elsewhere(what: str) -> Remedies:
    return Remedies(
        machine=f"{what}, with studios up --data-dir",
        docker="--volume studios:/var/lib/studios",
        podman="--volume studios:/var/lib/studios",
        kubernetes="a volume of the pod at /var/lib/studios",
    )


ANSWER = Need(
    name="answers",
    purpose="knowing anything at all",
    remedies=elsewhere("choose a folder on a local disk"),
)
ROOM = Need(
    name="room for a volume",
    purpose="a new session",
    remedies=elsewhere("make room, or choose another disk"),
)
ROOM_FOR_MORE = Need(
    name=ROOM.name,
    purpose=ROOM.purpose,
    loss="no Studio starts for the first time",
    remedies=ROOM.remedies,
)
SPARSE_FILES = Need(
    name="sparse files",
    purpose="volumes that take the room they use",
    remedies=elsewhere("choose a folder on ext4, xfs or btrfs"),
)
LASTING_PLACE = Need(
    name="disk of its own",
    purpose="volumes that outlive restarts",
    loss="what sessions keep is gone with it",
    remedies=elsewhere("choose a folder on a disk"),
)
NEAR_PLACE = Need(
    name="local disk",
    purpose="volumes",
    loss="sessions stand still when the network does",
    remedies=elsewhere("choose a folder on a local disk"),
)
_ONE_FILE_SYSTEM = anywhere(
    "move it to the file system of /, or show it to sessions with studios up --carry"
)
VITAL_FOLDERS = Need(
    name="one file system for the system",
    purpose="the programs in sessions, which see only what lies on the file system of /",
    remedies=_ONE_FILE_SYSTEM,
)
OTHER_FOLDERS = Need(
    name="one file system for the rest",
    purpose="what sessions see of the machine",
    loss="sessions find it empty",
    remedies=_ONE_FILE_SYSTEM,
)
DIRECT_IO = Need(
    name="direct I/O",
    purpose="volumes that are cached once",
    loss="volumes are slower and take twice the memory",
    remedies=elsewhere("choose a folder on ext4, xfs or btrfs"),
)


def limit(controller: str, what: str) -> Need:
    return Need(
        name=f"limit: {what}",
        purpose=f"a session's share of the {what}",
        loss="a session's limit can't be kept",
        remedies=Remedies(
            machine=f"boot with the cgroup controller {controller} (cgroup_enable={controller})",
            docker="--security-opt writable-cgroups=true",
            podman="--security-opt unmask=ALL",
            kubernetes=_PRIVILEGED,
        ),
    )
