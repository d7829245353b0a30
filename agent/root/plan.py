"""What a session's root is made of, decided from facts about the host. Pure: data in, data out.

    image /                    lower, never written
    mask layer                 lower above it: hides what the session must not see of the image,
                               adds commands of ours
    checkpoint layer           lower above that, from the second start on
    volume/active/upper        upper: everything the session changes
    = the session's /          with /proc, /sys, /dev and /run of its own

Two kinds of engine. For `local` the image is the host's own `/`: nothing that is mounted below it
is carried along, and a mask layer empties what is the host's business. In a container the image is
the container's root, and everything mounted below `/` comes along but what belongs to the agent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from agent.root.confinement import (
    CAPABILITY_NUMBERS,
    GRAPHICS_DEVICES,
    MASKED_PATHS,
    NEEDS_OWN_NETWORK,
    PROFILES,
    READ_ONLY_PATHS,
    ProfileName,
)
from agent.root.hidden import EMPTIED_FOLDERS, KEY_FOLDERS, Command, MaskEntry, mask_entries
from agent.root.names import hosts_file, resolv_conf
from agent.root.paths import is_normal, is_within, topmost
from agent.root.seccomp import SeccompProfile, seccomp_profile

if TYPE_CHECKING:
    from agent.root.facts import HostFacts
    from agent.root.mountinfo import Mount
    from common.session_spec import ResourceLimits

EngineKind = Literal["local", "container"]

OVERLAY_OPTIONS = "redirect_dir=off,metacopy=off,index=off,nfs_export=off,xino=off"
"""Only without these the kernel allows other lower layers under the same upper directory later."""
OWN_FOLDERS = ("/proc", "/sys", "/dev", "/run")
"""Made afresh for the session, never carried along: an engine's socket in /run would be root on the
host, and credentials of the container are mounted there."""
NEVER_CARRIED = (*OWN_FOLDERS, "/var/run", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
PROCESSES_DEFAULT = 16384
"""Threads count: a large machine's numeric libraries start a hundred for every notebook."""
_PROCESSES_SHARE = 4  # at most this part of the kernel's numbers, so that others can go on
_UNUSABLE_IN_OPTIONS = frozenset(",:\\")


class UnusablePathError(ValueError):
    """A path that can't be given to the kernel as an overlay layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What is asked of the root, by the session spec and the engine."""

    engine: EngineKind
    profile: ProfileName
    hostname: str
    lower: tuple[str, ...]
    """Layers, topmost first, the image's root last."""
    upper: str
    work: str
    platform_folders: tuple[str, ...]
    """Where the platform's own programs and data lie: never visible to the session."""
    carried: tuple[str, ...] = ()
    """Mounts that are to come along for `local`: an explicit list."""
    commands: tuple[Command, ...] = ()
    given: tuple[tuple[str, str], ...] = ()
    """Pairs: a file or socket of the agent's, and where the session is to see it. Below /run, so
    that no trace of it is among the user's files."""
    own_network: bool = True
    """False where no network namespace can be had."""
    graphics: bool = False
    resources: ResourceLimits


@dataclass(frozen=True, slots=True)
class Overlay:
    """How the overlay is mounted; `mask` says where the mask layer goes among the lower ones."""

    lower: tuple[str, ...]
    upper: str
    work: str
    options: str

    def data(self, mask_layer: str | None) -> str:
        """Return the mount options, the mask layer just above the image."""
        layers = self.lower
        if mask_layer is not None:
            layers = (*layers[:-1], mask_layer, layers[-1])
        paths = f"lowerdir={':'.join(layers)},upperdir={self.upper},workdir={self.work}"
        return f"{paths},{self.options}"


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A small file that is made for this run and bound over the session's."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Limits:
    """The session's cgroup. None means unlimited."""

    cpus: float | None
    memory_bytes: int | None
    processes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RootPlan:
    """All that is done to make a session's root; nothing else is."""

    hostname: str
    overlay: Overlay
    mask: tuple[MaskEntry, ...]
    carried: tuple[str, ...]
    """Mounts bound recursively at the same place, `nodev`, following the agent's (slave)."""
    covered: tuple[str, ...]
    """Folders within carried mounts that are covered with nothing."""
    own_files: tuple[OwnFile, ...]
    given: tuple[tuple[str, str], ...]
    """Files and sockets bound read-only: pairs, where they are and where the session sees them."""
    devices: tuple[str, ...]
    """Names below /dev of single nodes."""
    masked_paths: tuple[str, ...]
    read_only_paths: tuple[str, ...]
    capabilities: frozenset[int]
    seccomp: SeccompProfile
    own_network: bool
    limits: Limits
    gives_up: tuple[str, ...]
    """Sentences for the status: what this session's walls lack."""


def plan(facts: HostFacts, wishes: Wishes) -> RootPlan:
    """Decide everything; raise UnusablePathError for layers that can't be mounted."""
    profile = PROFILES[wishes.profile]
    carried = _carried(facts.mounts, wishes)
    names = profile.capabilities
    gives_up = profile.gives_up
    if not wishes.own_network:
        names -= NEEDS_OWN_NETWORK
        gives_up += (
            "No network namespace can be made here: the session shares the network of its "
            "container, and can't use raw sockets (ping).",
        )
    return RootPlan(
        hostname=wishes.hostname,
        overlay=_overlay(wishes),
        mask=mask_entries(facts, folders_to_empty(wishes), wishes.commands),
        carried=carried,
        covered=tuple(
            folder
            for folder in topmost(wishes.platform_folders)
            if any(is_within(folder, mount) for mount in carried)
        ),
        own_files=(
            OwnFile("/etc/hostname", f"{wishes.hostname}\n"),
            OwnFile("/etc/hosts", hosts_file(facts.hosts, wishes.hostname)),
            OwnFile(
                "/etc/resolv.conf",
                resolv_conf(facts.resolv_conf, own_network=wishes.own_network),
            ),
        ),
        given=wishes.given,
        devices=_devices(facts, profile.devices, graphics=wishes.graphics),
        masked_paths=MASKED_PATHS,
        read_only_paths=READ_ONLY_PATHS,
        capabilities=frozenset(CAPABILITY_NUMBERS[name] for name in names),
        seccomp=seccomp_profile(profile),
        own_network=wishes.own_network,
        limits=_limits(facts, wishes.resources),
        gives_up=gives_up,
    )


def folders_to_empty(wishes: Wishes) -> tuple[str, ...]:
    """Return the folders that the plan would empty where they exist: the survey looks for them."""
    if wishes.engine == "local":
        return (*EMPTIED_FOLDERS, *KEY_FOLDERS, *wishes.platform_folders)
    return wishes.platform_folders


def _overlay(wishes: Wishes) -> Overlay:
    if not wishes.lower:
        raise UnusablePathError("a session's root needs at least the image as a lower layer")
    for path in (*wishes.lower, wishes.upper, wishes.work):
        if not is_normal(path) or _UNUSABLE_IN_OPTIONS.intersection(path):
            raise UnusablePathError(f"{path!r} can't be a layer of a session's root")
    return Overlay(wishes.lower, wishes.upper, wishes.work, OVERLAY_OPTIONS)


def _carried(mounts: tuple[Mount, ...], wishes: Wishes) -> tuple[str, ...]:
    """Return the topmost mounts that come along; what is mounted in them comes with them."""
    if wishes.engine == "local":
        return topmost(wishes.carried)
    own = (*NEVER_CARRIED, *wishes.platform_folders)
    points = {mount.point for mount in mounts} - {"/"}
    return topmost(point for point in points if not any(is_within(point, place) for place in own))


def _devices(facts: HostFacts, always: tuple[str, ...], *, graphics: bool) -> tuple[str, ...]:
    chosen = set(always)
    if graphics:
        chosen |= {name for name in facts.devices if name.startswith(GRAPHICS_DEVICES)}
    return tuple(sorted(chosen & facts.devices))


def _limits(facts: HostFacts, resources: ResourceLimits) -> Limits:
    ceiling = max(1, facts.processes_max // _PROCESSES_SHARE)
    wanted = resources.processes if resources.processes is not None else PROCESSES_DEFAULT
    return Limits(resources.cpus, resources.memory_bytes, min(wanted, ceiling))
