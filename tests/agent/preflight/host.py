"""A host that has everything, to take single things from."""

from __future__ import annotations

from agent.preflight.calls import try_calls
from agent.preflight.facts import Facts, Place, Trial
from agent.preflight.survey import PROGRAMS
from common.findings import Finding, Findings, Surroundings, Verdict

GIGABYTE = 1024**3
ROOMY = Place(path="/var/lib/studios", kind="ext4", free_bytes=100 * GIGABYTE, has_volume=False)
GOOD = Facts(
    surroundings=Surroundings.MACHINE,
    image="host",
    machine="x86_64",
    kernel="6.1.0",
    user_id=0,
    in_user_namespace=False,
    capabilities=frozenset(range(41)),
    filtered=False,
    confined_by="",
    masked=False,
    calls=dict.fromkeys(try_calls(), 0),
    file_systems={"btrfs": 0, "overlay": 0},
    namespaces=dict.fromkeys(("mnt", "pid", "ipc", "uts", "net", "cgroup"), 1024),
    loop_control=0,
    loop_node=0,
    tunnel_device=0,
    programs=frozenset(PROGRAMS),
    has_seccomp_library=True,
    place=ROOMY,
    separate=(),
    limits={"cpu": "", "memory": "", "pids": "", "cpuacct": ""},
    kernel_log=0,
    trials={
        "namespaces": Trial(),
        "mounts": Trial(),
        "confinement": Trial(),
        "volume": Trial(),
        "way-out": Trial(),
    },
)


def lacks(found: Findings) -> list[Finding]:
    return [finding for finding in found.findings if finding.verdict is not Verdict.OK]
