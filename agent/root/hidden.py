"""The mask layer: what a session must not see of its image, and what it sees besides.

An image that is a whole machine, as with the `local` engine, has much that is nobody's business.
Its folders are emptied by opaque folders in a small overlay layer above the image rather than by
mounts over them, so that what the user writes there is in the upper directory like everything else,
and is kept. Key material in single files is removed by whiteouts, and the files of passwords are
replaced by copies that name the same accounts without their hashes. Commands of ours are in this
layer, too, so that they are never among the user's own files. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.root.facts import Attributes
from agent.root.paths import ancestors, is_within, topmost

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.root.facts import HostFacts

EMPTIED_FOLDERS = (
    "/boot",
    "/home",
    "/media",
    "/mnt",
    "/root",
    "/srv",
    "/tmp",
    "/var/tmp",
)
KEY_FOLDERS = (
    "/etc/NetworkManager/system-connections",
    "/etc/docker",
    "/etc/ipsec.d/private",
    "/etc/kubernetes",
    "/etc/letsencrypt",
    "/etc/openvpn",
    "/etc/pki/tls/private",
    "/etc/rancher",
    "/etc/ssl/private",
    "/etc/sssd",
    "/etc/wireguard",
    "/etc/wpa_supplicant",
    "/var/backups",  # copies of /etc/shadow
    "/var/lib/amazon",
    "/var/lib/cloud",  # user data of the machine, often with credentials
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/lib/kubelet",
    "/var/lib/rancher",
    "/var/lib/sss",
    "/var/lib/waagent",
    "/var/spool/cron",
)
KEY_FILES = (
    "/etc/gshadow-",
    "/etc/ipsec.secrets",
    "/etc/krb5.keytab",
    "/etc/security/opasswd",
    "/etc/shadow-",
    "/etc/ssh/ssh_host_dsa_key",
    "/etc/ssh/ssh_host_ecdsa_key",
    "/etc/ssh/ssh_host_ed25519_key",
    "/etc/ssh/ssh_host_rsa_key",
    "/var/cache/debconf/passwords.dat",
    "/var/cache/debconf/passwords.dat-old",
)
PASSWORD_FILES = ("/etc/gshadow", "/etc/shadow")
_COMMAND = Attributes(mode=0o755, user_id=0, group_id=0)
_FOLDER = Attributes(mode=0o755, user_id=0, group_id=0)
"""Of folders to commands that the image doesn't have."""
_LOCKED = "!"
_IMPOSSIBLE = "*"


@dataclass(frozen=True, slots=True)
class MergedFolder:
    """A folder on the way to another entry.

    It takes the place of the image's for everything but its contents, so it must look like it.
    """

    path: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class OpaqueFolder:
    """A folder that hides all that the image has in it."""

    path: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Whiteout:
    """Nothing, where the image has a file."""

    path: str


@dataclass(frozen=True, slots=True)
class PlacedFile:
    """A file that stands before the image's, if it has one there."""

    path: str
    text: str
    attributes: Attributes


MaskEntry = MergedFolder | OpaqueFolder | Whiteout | PlacedFile


@dataclass(frozen=True, slots=True)
class Command:
    """A script that the session has on its PATH."""

    name: str
    text: str


def mask_entries(
    facts: HostFacts, folders: Iterable[str], commands: Iterable[Command]
) -> tuple[MaskEntry, ...]:
    """Return the layer's contents, each folder before what is in it.

    `folders` are to be emptied; those that the host doesn't have are left out. `commands` are, too,
    if their place is in a folder to be emptied.
    """
    opaque = topmost(path for path in folders if path in facts.folders)

    def visible(path: str) -> bool:
        return not any(is_within(path, folder) for folder in opaque)

    leaves: list[MaskEntry] = [OpaqueFolder(path, facts.folders[path]) for path in opaque]
    leaves += [Whiteout(path) for path in sorted(facts.secrets) if visible(path)]
    leaves += [
        PlacedFile(path, without_hashes(file.text), file.attributes)
        for path, file in sorted(facts.password_files.items())
        if visible(path)
    ]
    if visible(facts.commands_folder):
        leaves += [
            PlacedFile(f"{facts.commands_folder}/{command.name}", command.text, _COMMAND)
            for command in commands
        ]
    between = {folder for entry in leaves for folder in ancestors(entry.path)}
    merged = [MergedFolder(path, facts.folders.get(path, _FOLDER)) for path in sorted(between)]
    return (*merged, *leaves)


def without_hashes(text: str) -> str:
    """Return a shadow file in which whoever had a password has none that could be right.

    Locked accounts and those without a password stay what they are.
    """
    return "\n".join(_without_hash(line) for line in text.split("\n"))


def _without_hash(line: str) -> str:
    name, separator, rest = line.partition(":")
    password, *others = rest.split(":")
    if password:  # a locked account keeps its hash behind the mark
        password = _LOCKED if password.startswith(_LOCKED) else _IMPOSSIBLE
    return name + separator + ":".join((password, *others))
