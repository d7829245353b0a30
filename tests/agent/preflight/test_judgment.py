"""Each thing that a host lacks alone is named alone, with what gives it wherever the agent is."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agent.preflight.facts import Trial
from agent.preflight.judgment import ROOM_BYTES_MIN, judge, may_try
from agent.root.confinement import CAPABILITY_NUMBERS, DEFAULT_CAPABILITIES
from common.findings import Surroundings, Verdict, flags, refusal_text, warnings
from tests.agent.preflight.host import GOOD, ROOMY, lacks

if TYPE_CHECKING:
    from agent.preflight.facts import Facts

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


def test_a_host_that_has_everything_has_no_finding_but_good_ones() -> None:
    found = judge(GOOD)
    assert lacks(found) == []
    assert len(found.findings) > 25
    assert (refusal_text(found), warnings(found), flags(found)) == ("", (), "")


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


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[2]}-{row[3][:12]}")
def test_what_lacks_alone_is_named_alone_with_what_gives_it(
    row: tuple[dict[str, Any], Verdict, str, str, str, str],
) -> None:
    change, verdict, need, *remedies = row
    places = (Surroundings.MACHINE, Surroundings.DOCKER, Surroundings.KUBERNETES)
    for surroundings, remedy in zip(places, remedies, strict=True):
        found = judge(replace(GOOD, surroundings=surroundings, **change))
        (finding,) = lacks(found)
        assert (finding.verdict, finding.need) == (verdict, need)
        assert finding.problem
        assert bool(finding.loss) == (verdict is WEAKER)
        assert remedy in found.remedy(finding)
        text = refusal_text(found) if verdict is MISSING else warnings(found)[0]
        assert finding.problem[1:] in text
        assert found.remedy(finding) in text
        assert "\n" not in text
        assert text.endswith(".")


@pytest.mark.parametrize("name", sorted(DEFAULT_CAPABILITIES))
def test_every_capability_that_sessions_get_is_needed(name: str) -> None:
    (finding,) = lacks(judge(replace(GOOD, capabilities=without(name))))
    assert name.upper() in finding.problem


def test_podmans_flags_are_its_own() -> None:
    facts = replace(GOOD, surroundings=Surroundings.PODMAN, masked=True)
    failed = Trial(failed_at="a mount of proc", error=errno.EPERM, reason="refused")
    found = judge(replace(facts, trials={"mounts": failed}))
    assert found.remedy(lacks(found)[0]) == "--security-opt unmask=ALL"


def bare_container() -> Facts:
    """Return what `docker run` gives without any flag."""
    held = {CAPABILITY_NUMBERS[name] for name in DEFAULT_CAPABILITIES}
    return replace(
        GOOD,
        surroundings=Surroundings.DOCKER,
        image="container",
        capabilities=frozenset(held),
        filtered=True,
        confined_by="docker-default",
        masked=True,
        calls=dict.fromkeys(GOOD.calls, errno.EPERM),
        file_systems=dict.fromkeys(GOOD.file_systems, errno.EPERM),
        loop_control=errno.ENOENT,
        tunnel_device=errno.ENOENT,
        trials=None,
        limits=None,
        kernel_log=None,
    )


def test_one_cause_makes_one_finding() -> None:
    """Without the capability all calls fail; nobody needs to be told of each."""
    found = judge(bare_container())
    assert [finding.need for finding in found.having(MISSING)] == ["SYS_ADMIN", "loop devices"]
    assert may_try(bare_container()) == frozenset()


def test_all_flags_for_a_container_are_one_line_to_copy() -> None:
    assert flags(judge(bare_container())) == (
        "--cap-add SYS_ADMIN --cap-add NET_ADMIN --device /dev/loop-control --device /dev/net/tun"
    )
    machine = replace(bare_container(), surroundings=Surroundings.MACHINE)
    assert flags(judge(machine)) == ""


def test_somebody_without_root_is_told_that_first_and_little_else() -> None:
    nobody = replace(
        bare_container(), surroundings=Surroundings.MACHINE, user_id=1000, capabilities=frozenset()
    )
    assert [finding.need for finding in lacks(judge(nobody))] == ["root"]


def test_all_that_is_missing_is_one_sentence() -> None:
    text = refusal_text(judge(bare_container()))
    assert text == (
        "Sessions can't run here: the capability SYS_ADMIN is missing, needed for mounts and "
        "namespaces (--cap-add SYS_ADMIN); /dev/loop-control does not exist, needed for attaching "
        "volumes (--device /dev/loop-control)."
    )


def test_a_volume_that_is_there_needs_no_room_for_another() -> None:
    full = replace(ROOMY, free_bytes=0, has_volume=True)
    assert lacks(judge(replace(GOOD, place=full))) == []


@pytest.mark.parametrize(
    ("change", "futile"),
    [
        ({}, set()),
        ({"loop_control": errno.ENOENT}, {"volume"}),
        ({"loop_node": errno.EPERM}, {"volume"}),
        ({"programs": GOOD.programs - {"mkfs.btrfs"}}, {"volume"}),
        ({"file_systems": {"btrfs": 0, "overlay": errno.ENODEV}}, {"volume", "mounts"}),
        ({"has_seccomp_library": False}, {"confinement"}),
        ({"capabilities": without("mknod")}, {"confinement"}),
        ({"programs": GOOD.programs - {"setpriv"}}, {"way-out"}),
        ({"tunnel_device": errno.ENOENT}, {"way-out"}),
        ({"capabilities": without("net_admin")}, {"way-out"}),
        ({"calls": calls(errno.EPERM, "mount")}, set(GOOD.trials or ())),
        ({"in_user_namespace": True}, set(GOOD.trials or ())),
    ],
)
def test_what_must_fail_for_a_known_reason_is_not_tried(
    change: dict[str, Any], futile: set[str]
) -> None:
    assert may_try(replace(GOOD, **change)) == frozenset(GOOD.trials or ()) - futile
