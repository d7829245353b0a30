"""What is known of a host; `survey` and `trials` find it out. Data only.

Errors are numbers of `errno`, 0 where it worked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from common.session_spec import VolumeLimits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from common.findings import Surroundings

Image = Literal["host", "container"]
"""As in `common.session_spec.RootSpec`."""

TrialName = Literal["namespaces", "mounts", "confinement", "volume", "way-out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where volumes are to lie."""

    path: str
    """The folder, or the nearest above it that exists."""
    kind: str
    """Of the file system there: `ext4`, `nfs4`."""
    free_bytes: int
    has_volume: bool
    """Is there one already? Then it needs no room for another."""
    volume_kind: str = ""
    """Which file system it is; empty if there is none, or nobody can tell."""
    has_sessions: bool = False
    """Do sessions lie there already? Those run without room for another volume."""
    initial_bytes: int = VolumeLimits().initial_bytes
    """With which size a new volume begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How trying something ended."""

    failed_at: str = ""
    """What it was doing, as a noun; empty if all went well."""
    error: int = 0
    reason: str = ""
    losses: tuple[str, ...] = ()
    """What went otherwise than wished, and sessions can do without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One look at a host. What is None was not looked at."""

    surroundings: Surroundings
    image: Image
    machine: str
    """The processor's architecture as the kernel names it."""
    kernel: str
    """Its version: `6.1.0-18-amd64`."""

    # The agent itself
    user_id: int
    in_user_namespace: bool
    """Is this another user namespace than the machine's?"""
    capabilities: frozenset[int]
    """What the agent may, and may pass on."""
    filtered: bool
    """Does a seccomp filter look at its system calls?"""
    confined_by: str
    """The profile or domain of AppArmor or SELinux that confines it; empty if none does."""
    masked: bool
    """Are parts of /proc covered, or is /sys read-only?"""

    # The kernel
    calls: Mapping[str, int]
    file_systems: Mapping[str, int]
    """Of asking for each kind. What stands in for btrfs is not asked for where that is there."""
    namespaces: Mapping[str, int]
    """How many of each kind may be made; a kind that the kernel lacks is not there."""

    # Devices and programs
    loop_control: int
    loop_node: int
    """Of opening a loop device's node. 0 also where there is none yet: the agent makes it."""
    tunnel_device: int
    programs: frozenset[str]
    """Those that were found."""
    has_seccomp_library: bool

    # Places
    place: Place
    separate: tuple[str, ...]
    """Folders of the machine with a file system of their own, which is not carried along."""

    # Thorough looks only
    limits: Mapping[str, str] | None = None
    """Why a controller can't limit sessions; empty if it can."""
    kernel_log: int | None = None
    trials: Mapping[TrialName, Trial] | None = None
    """Those that could be tried."""
