"""What the plan needs to know of the host; `survey` finds it out. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.root.mountinfo import Mount


@dataclass(frozen=True, slots=True)
class Attributes:
    """Who owns a file and who may use it. `mode` without the file's type."""

    mode: int
    user_id: int
    group_id: int


@dataclass(frozen=True, slots=True)
class TextFile:
    """A small file of the host, which the session gets in another form."""

    text: str
    attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """One look at the host. Paths are absolute and without links."""

    mounts: tuple[Mount, ...]
    devices: frozenset[str]
    """Names below /dev of the character devices there."""
    folders: Mapping[str, Attributes]
    """Of the folders to be emptied and the commands' folder those that exist; and all folders above
    them and above `secrets`."""
    secrets: frozenset[str]
    """Files with key material that exist."""
    password_files: Mapping[str, TextFile]
    commands_folder: str
    """Where commands of one machine belong, which are no package's; it need not exist."""
    resolv_conf: str
    hosts: str
    processes_max: int
    """How many the kernel can number: `kernel.pid_max`."""
