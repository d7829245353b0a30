"""Facts and needs make findings. Pure.

Each question below looks at one side of the host and yields pairs: a need, and the problem with it,
empty if it is met. A need that can't be judged is left out, so that one cause makes one finding:
without SYS_ADMIN every call and every trial would fail, and only the capability is named. The
questions about the agent itself are in `rights`, those about volumes' file systems in `volumes`.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from agent.preflight import needs
from agent.preflight.place import (
    IN_MEMORY,
    OF_A_CONTAINER,
    WITHOUT_HOLES,
    is_over_the_network,
    is_vital,
)
from agent.preflight.refusals import REFUSALS, by_whom, cure, lifting
from agent.preflight.rights import capabilities, capability, identity, is_privileged, lacking
from agent.preflight.volumes import kind_of_new, volumes
from agent.root.confinement import DEFAULT_CAPABILITIES
from agent.volume.image import HOST_RESERVE_BYTES
from common.findings import Finding, Findings, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.preflight.facts import Facts, TrialName
    from agent.preflight.needs import Judged, Need
    from common.findings import Surroundings

ARCHITECTURES = ("x86_64", "aarch64")
"""For which there is a filter of system calls."""
_MEGABYTE, _GIGABYTE = 1024**2, 1024**3

_NAMESPACES = {"mnt": "mounts", "pid": "processes", "ipc": "shared memory", "uts": "hostnames"}
_LIMITED = {"cpu": "processors", "memory": "memory", "pids": "processes"}
_TRIALS: dict[TrialName, tuple[str, str, str]] = {
    "namespaces": ("namespaces", "walls between sessions", ""),
    "mounts": ("mounts", "a root of each session's own", ""),
    "confinement": ("confinement", "keeping sessions in", ""),
    "volume": ("volume", "keeping what sessions change", ""),
    "way-out": (
        "way out",
        "reaching the network from sessions",
        "sessions have a network without a way out",
    ),
}
"""Name, purpose and loss of what is tried."""


def judge(facts: Facts) -> Findings:
    """Return everything that can be said of this host."""
    return Findings(
        surroundings=facts.surroundings,
        thorough=facts.trials is not None,
        findings=tuple(
            _finding(need, problem) for question in _QUESTIONS for need, problem in question(facts)
        ),
    )


def may_try(facts: Facts) -> frozenset[TrialName]:
    """Return the trials that nothing known already makes futile."""
    if not is_privileged(facts) or any(facts.calls.values()):
        return frozenset()
    names: set[TrialName] = {"namespaces", "mounts", "confinement", "volume", "way-out"}
    loop_lacks = facts.loop_control or facts.loop_node
    if loop_lacks or kind_of_new(facts) is None:
        names.discard("volume")
    if _lacks_room(facts):
        names.discard("volume")
    if facts.file_systems["overlay"]:
        names -= {"mounts", "volume"}
    if any(problem for _, problem in _filter(facts)) or lacking(DEFAULT_CAPABILITIES, facts):
        names.discard("confinement")
    lacks_network = any(
        problem for question in (_network, _way_out) for _, problem in question(facts)
    )
    if lacks_network or lacking({"net_admin"}, facts):
        names.discard("way-out")
    return frozenset(names)


def judge_silence(surroundings: Surroundings, seconds: float) -> Findings:
    """Return what can be said of a host that doesn't even answer."""
    need = needs.ANSWER
    problem = f"the folder for volumes or a device gave no answer for {seconds:.0f} s"
    return Findings(surroundings=surroundings, thorough=False, findings=(_finding(need, problem),))


def _finding(need: Need, problem: str) -> Finding:
    if not problem:
        return Finding(need=need.name, verdict=Verdict.OK, purpose=need.purpose)
    return Finding(
        need=need.name,
        verdict=Verdict.WEAKER if need.loss else Verdict.MISSING,
        purpose=need.purpose,
        problem=problem,
        loss=need.loss,
        remedies=need.remedies,
    )


# ── The kernel ───────────────────────────────────────────────────────────────


def _kernel(facts: Facts) -> Judged:
    if not is_privileged(facts):
        return
    absent = [name for name, error in facts.calls.items() if error == errno.ENOSYS]
    refused = [name for name, error in facts.calls.items() if error in REFUSALS]
    need = needs.new_kernel("system calls", "mounts and walls")
    if absent:
        yield need, f"Linux {facts.kernel} has no {_names(absent)}"
    if refused:
        need = needs.Need(name=need.name, purpose=need.purpose, remedies=lifting(facts))
        yield need, f"{_names(refused)} {_is(refused)} refused{by_whom(facts)}"
    if not absent and not refused:
        yield need, ""
    error = facts.file_systems["overlay"]
    if error in {0, errno.ENODEV}:
        need = needs.file_system("overlay", "a root of each session's own")
        yield need, "the kernel has no overlay" if error else ""


def _network(facts: Facts) -> Judged:
    loss = "sessions share the network of this host, and can't ping"
    name, purpose = "network namespaces", "a network of each session's own"
    if "net" not in facts.namespaces:
        yield (
            needs.Need(
                name=name,
                purpose=purpose,
                loss=loss,
                remedies=needs.new_kernel(name, purpose).remedies,
            ),
            "the kernel has no network namespaces",
        )
    else:
        problem = "" if facts.namespaces["net"] else "no network namespace may be made"
        yield needs.namespaces(name, purpose, "net", loss=loss), problem


def _namespaces(facts: Facts) -> Judged:
    for kind, what in _NAMESPACES.items():
        name, purpose = f"{kind} namespaces", f"{what} of each session's own"
        if kind not in facts.namespaces:
            yield needs.new_kernel(name, purpose), f"the kernel has no {kind} namespaces"
        elif facts.namespaces[kind] == 0:
            yield needs.namespaces(name, purpose, kind), f"no {kind} namespace may be made"


def _filter(facts: Facts) -> Judged:
    problem = "" if facts.has_seccomp_library else "libseccomp.so.2 is not installed"
    yield needs.SECCOMP_LIBRARY, problem
    if facts.machine not in ARCHITECTURES:
        yield (
            needs.Need(
                name="processor",
                purpose="the filter of system calls",
                remedies=needs.anywhere(f"a machine with {' or '.join(ARCHITECTURES)}"),
            ),
            f"there is no filter of system calls for {facts.machine} yet",
        )


# ── Devices and programs ─────────────────────────────────────────────────────


def _devices(facts: Facts) -> Judged:
    if facts.user_id != 0:
        return
    yield needs.LOOP_CONTROL, _device_problem("/dev/loop-control", facts.loop_control)
    if not facts.loop_control:
        yield needs.LOOP_NODES, _device_problem("a loop device's node", facts.loop_node)


def _device_problem(name: str, error: int) -> str:
    if not error:
        return ""
    if error == errno.ENOENT:
        return f"{name} does not exist"
    return f"{name} can't be opened: {os.strerror(error)}"


def _way_out(facts: Facts) -> Judged:
    found = facts.programs
    yield needs.SLIRP, "" if "slirp4netns" in found else "slirp4netns is not installed"
    yield needs.SETPRIV, "" if "setpriv" in found else "setpriv is not installed"
    if facts.user_id == 0:
        yield needs.TUNNEL, _device_problem("/dev/net/tun", facts.tunnel_device)


# ── Places and limits ────────────────────────────────────────────────────────


def _place(facts: Facts) -> Judged:
    place = facts.place
    if not place.has_volume:
        free, wanted = _size(place.free_bytes), _size(_room_bytes_min(facts))
        short = f"{place.path} has {free} free, a new volume takes {wanted}"
        need = needs.ROOM_FOR_MORE if place.has_sessions else needs.ROOM
        yield need, short if _lacks_room(facts) else ""
    if place.kind in WITHOUT_HOLES:
        yield needs.SPARSE_FILES, f"{place.path} is on {place.kind}, which has no sparse files"
    elif is_over_the_network(place.kind):
        yield needs.NEAR_PLACE, f"{place.path} is on {place.kind}, over the network"
    elif place.kind in OF_A_CONTAINER:
        yield needs.LASTING_PLACE, f"{place.path} belongs to a container"
    elif place.kind in IN_MEMORY:
        yield needs.LASTING_PLACE, f"{place.path} is in memory"
    vital = [folder for folder in facts.separate if is_vital(folder)]
    others = [folder for folder in facts.separate if not is_vital(folder)]
    for need, folders in ((needs.VITAL_FOLDERS, vital), (needs.OTHER_FOLDERS, others)):
        if folders:
            whose = (
                "has a file system of its" if len(folders) == 1 else "have file systems of their"
            )
            yield need, f"{_names(folders)} {whose} own"


def _lacks_room(facts: Facts) -> bool:
    return not facts.place.has_volume and facts.place.free_bytes < _room_bytes_min(facts)


def _room_bytes_min(facts: Facts) -> int:
    """What must be free for a new volume: its first size, and what stays for everything else."""
    return facts.place.initial_bytes + HOST_RESERVE_BYTES


def _size(size_bytes: int) -> str:
    if size_bytes < _GIGABYTE:
        return f"{size_bytes // _MEGABYTE} MB"
    return f"{size_bytes / _GIGABYTE:.1f} GB"


def _limits(facts: Facts) -> Judged:
    """Ask what a session's own status tells of it, too: for thorough looks only."""
    if facts.limits is None:
        return
    for controller, what in _LIMITED.items():
        yield needs.limit(controller, what), facts.limits[controller]
    if facts.user_id == 0:
        loss = "an agent may be ended when the machine itself is out of memory"
        purpose = "keeping agents alive when memory runs out"
        yield capability("SYS_RESOURCE", purpose, facts, loss=loss)
    if facts.kernel_log is not None:
        yield needs.KERNEL_LOG, _device_problem("/dev/kmsg", facts.kernel_log)


# ── What was tried ───────────────────────────────────────────────────────────


def _trials(facts: Facts) -> Judged:
    for name, trial in (facts.trials or {}).items():
        title, purpose, loss = _TRIALS[name]
        need = needs.Need(
            name=f"{title}, tried", purpose=purpose, loss=loss, remedies=cure(facts, trial.error)
        )
        yield need, f"{trial.failed_at} failed: {trial.reason}" if trial.failed_at else ""
        for problem in trial.losses:
            yield needs.DIRECT_IO, problem


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _names(names: list[str]) -> str:
    return ", ".join(names)


_QUESTIONS: tuple[Callable[[Facts], Judged], ...] = (
    identity,
    capabilities,
    _kernel,
    _namespaces,
    _filter,
    _devices,
    volumes,
    _network,
    _way_out,
    _place,
    _limits,
    _trials,
)
