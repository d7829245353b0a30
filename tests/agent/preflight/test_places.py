"""Where the agent stands, and what lies where, told from what the kernel lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.preflight.place import is_vital, mount_at, separate_folders
from agent.preflight.surroundings import MACHINES_NAMESPACES, surroundings
from agent.root.mountinfo import parse
from common.findings import Surroundings

if TYPE_CHECKING:
    from agent.root.mountinfo import Mount

CONTAINERS = {**MACHINES_NAMESPACES, "pid": 4026532500}


def mount(point: str, kind: str = "ext4", *, root: str = "/") -> Mount:
    (found,) = parse(f"30 1 0:30 {root} {point} rw - {kind} none rw")
    return found


def test_a_machine_whose_disk_was_a_containers_is_a_machine() -> None:
    assert surroundings(MACHINES_NAMESPACES, ["/.dockerenv"], []) is Surroundings.MACHINE


@pytest.mark.parametrize(
    ("markers", "engine"),
    [
        (["/.dockerenv"], Surroundings.DOCKER),
        (["/run/.containerenv"], Surroundings.PODMAN),
        (["/.dockerenv", "/run/.containerenv"], Surroundings.PODMAN),
        (["/run/systemd/container"], Surroundings.CONTAINER),
        ([], Surroundings.CONTAINER),
    ],
)
def test_namespaces_tell_a_container_and_files_whose(
    markers: list[str], engine: Surroundings
) -> None:
    assert surroundings(CONTAINERS, markers, [mount("/", "overlay")]) is engine


def test_a_pod_is_told_by_what_its_kubelet_mounts() -> None:
    hosts = mount("/etc/hosts", root="/var/lib/kubelet/pods/6f0c/etc-hosts")
    assert surroundings(CONTAINERS, ["/.dockerenv"], [hosts]) is Surroundings.KUBERNETES


def test_a_folder_lies_on_the_deepest_and_latest_mount_above_it() -> None:
    mounts = [mount("/"), mount("/var/lib", "xfs"), mount("/var", "ext4"), mount("/var/lib", "nfs")]
    for path, kind in (("/var/lib/studios", "nfs"), ("/variable", "ext4"), ("/var/lib", "nfs")):
        found = mount_at(path, mounts)
        assert found is not None
        assert found.kind == kind
    assert mount_at("/x", []) is None


def test_parts_of_the_system_with_a_file_system_of_their_own_are_found() -> None:
    own = [
        *("/", "/usr", "/var", "/var/lib", "/opt/studios", "/etc/hosts", "/home", "/proc", "/run"),
        *("/var/log", "/var/lib/docker/overlay2/x/merged", "/var/tmp", "/usr/share/doc"),
    ]
    found = separate_folders(map(mount, own), [])
    assert found == ("/opt/studios", "/usr", "/usr/share/doc", "/var", "/var/lib")
    assert [path for path in found if is_vital(path)] == ["/opt/studios", "/usr"]
    assert separate_folders([mount("/usr", "autofs")], []) == ()


def test_what_is_carried_along_or_the_platforms_is_not_missed() -> None:
    mounts = [mount("/usr"), mount("/usr/local"), mount("/opt/data")]
    assert separate_folders(mounts, ["/usr", "/opt/data"]) == ()
