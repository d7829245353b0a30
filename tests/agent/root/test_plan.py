"""The plan, for any host and any wish: what must never be in it, and what always is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from agent.root.confinement import CAPABILITY_NUMBERS, DEFAULT_CAPABILITIES, MASKED_PATHS, PROFILES
from agent.root.facts import Attributes, HostFacts, TextFile
from agent.root.hidden import (
    EMPTIED_FOLDERS,
    KEY_FILES,
    KEY_FOLDERS,
    Command,
    MergedFolder,
    OpaqueFolder,
    PlacedFile,
    Whiteout,
    without_hashes,
)
from agent.root.mountinfo import Mount
from agent.root.paths import ancestors, is_normal, is_within, topmost
from agent.root.plan import UnusablePathError, Wishes, folders_to_empty, plan
from common.session_spec import ResourceLimits

DOCKERS_CAPABILITIES = 0xA80425FB
"""CapBnd of a container that Docker started with its defaults."""

NAMES = ("a", "b", "data", "etc", "home", "opt", "root", "run", "srv", "studios", "tmp", "var")
COMMANDS_FOLDER = "/opt/bin"
ORDINARY = Attributes(0o755, 0, 0)
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)
attributes = st.builds(Attributes, st.integers(0, 0o7777), st.integers(0, 9), st.integers(0, 9))


def mount(point: str, kind: str = "ext4") -> Mount:
    return Mount(
        device=(8, 1),
        root="/",
        point=point,
        options=frozenset({"rw"}),
        kind=kind,
        source="/dev/disk",
        super_options=frozenset({"rw"}),
    )


WISHES = Wishes(
    engine="local",
    profile="default",
    hostname="studio",
    lower=("/",),
    upper="/volume/active/upper",
    work="/volume/active/work",
    platform_folders=("/var/lib/studios",),
    resources=ResourceLimits(),
)


@st.composite
def wishes(draw: st.DrawFn) -> Wishes:
    return replace(
        WISHES,
        engine=draw(st.sampled_from(("local", "container"))),
        profile=draw(st.sampled_from(("default", "docker"))),
        platform_folders=tuple(draw(st.lists(paths, max_size=4))),
        own_network=draw(st.booleans()),
        commands=tuple(Command(name, f"#!{name}") for name in draw(st.sets(st.sampled_from("xy")))),
        graphics=draw(st.booleans()),
        resources=ResourceLimits(processes=draw(st.none() | st.integers(1, 10**7))),
    )


@st.composite
def hosts(draw: st.DrawFn, wished: Wishes) -> HostFacts:
    there = [path for path in folders_to_empty(wished) if draw(st.booleans())]
    secrets = frozenset(path for path in KEY_FILES if draw(st.booleans()))
    text = TextFile("root:$6$salt$hash:1::\n", draw(attributes))
    passwords = {"/etc/shadow": text} if draw(st.booleans()) else {}
    known = {*there, *(up for path in (*there, *secrets, *passwords) for up in ancestors(path))}
    return HostFacts(
        mounts=tuple(mount(point) for point in ["/", *draw(st.lists(paths, max_size=8))]),
        devices=frozenset(
            draw(st.sets(st.sampled_from(("null", "zero", "sda", "mem", "nvidia0", "fuse"))))
        ),
        folders={path: draw(attributes) for path in sorted(known)},
        secrets=secrets,
        password_files=passwords,
        commands_folder=COMMANDS_FOLDER,
        resolv_conf="nameserver 192.0.2.1\n",
        hosts="127.0.0.1 localhost\n",
        processes_max=draw(st.integers(2, 10**6)),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[HostFacts, Wishes]:
    wished = draw(wishes())
    return draw(hosts(wished)), wished


@given(cases())
def test_whatever_is_to_be_hidden_is_below_an_opaque_folder(case: tuple[HostFacts, Wishes]) -> None:
    facts, wished = case
    mask = plan(facts, wished).mask
    opaque = [entry.path for entry in mask if isinstance(entry, OpaqueFolder)]
    wanted = set(wished.platform_folders)
    if wished.engine == "local":
        wanted |= {*EMPTIED_FOLDERS, *KEY_FOLDERS}
    for path in wanted & set(facts.folders):
        assert any(is_within(path, folder) for folder in opaque)
    for path in facts.secrets:
        covered = any(is_within(path, folder) for folder in opaque)
        assert covered or Whiteout(path) in mask


@given(cases())
def test_mask_layer_can_be_made_in_its_order(case: tuple[HostFacts, Wishes]) -> None:
    """Each entry once, its folder before it, nothing within an opaque folder, attributes kept."""
    facts, wished = case
    made: dict[str, object] = {"/": None}
    for entry in plan(facts, wished).mask:
        assert entry.path not in made
        above = ("/", *ancestors(entry.path))[-1]
        assert above == "/" or isinstance(made.get(above), MergedFolder)
        made[entry.path] = entry
        if isinstance(entry, MergedFolder | OpaqueFolder):
            assert entry.attributes == facts.folders.get(entry.path, ORDINARY)


@given(cases())
def test_commands_are_on_the_path_unless_their_place_is_emptied(
    case: tuple[HostFacts, Wishes],
) -> None:
    facts, wished = case
    mask = plan(facts, wished).mask
    emptied = any(
        is_within(COMMANDS_FOLDER, entry.path) for entry in mask if isinstance(entry, OpaqueFolder)
    )
    placed = [
        PlacedFile(f"{COMMANDS_FOLDER}/{command.name}", command.text, ORDINARY)
        for command in wished.commands
    ]
    assert [entry for entry in mask if entry in placed] == ([] if emptied else placed)


@given(cases())
def test_nothing_of_the_agent_or_the_host_is_carried_along(case: tuple[HostFacts, Wishes]) -> None:
    facts, wished = case
    decided = plan(facts, wished)
    if wished.engine == "local":
        assert decided.carried == ()
    for path in decided.carried:
        for place in ("/proc", "/sys", "/dev", "/run", "/var/run", *wished.platform_folders):
            assert not is_within(path, place)
    for folder in wished.platform_folders:
        if any(is_within(folder, path) for path in decided.carried):
            assert any(is_within(folder, covered) for covered in decided.covered)


@given(cases())
def test_every_other_mount_of_a_container_comes_along(case: tuple[HostFacts, Wishes]) -> None:
    facts, wished = case
    wished = replace(wished, engine="container", platform_folders=())
    carried = plan(facts, wished).carried
    for point in {found.point for found in facts.mounts} - {"/"}:
        own = any(
            is_within(point, place) for place in ("/proc", "/sys", "/dev", "/run", "/var/run")
        )
        assert own or any(is_within(point, path) for path in carried)


@given(cases())
def test_rights_are_never_more_than_the_profile_s(case: tuple[HostFacts, Wishes]) -> None:
    facts, wished = case
    decided = plan(facts, wished)
    names = {name for name, number in CAPABILITY_NUMBERS.items() if number in decided.capabilities}
    assert names <= PROFILES[wished.profile].capabilities
    if wished.profile == "default":
        assert names <= DEFAULT_CAPABILITIES
    if not wished.own_network:
        assert names.isdisjoint({"net_raw", "net_admin"})
    if names != DEFAULT_CAPABILITIES:
        assert decided.gives_up
    assert decided.masked_paths == MASKED_PATHS
    assert "/proc/sys" in decided.read_only_paths
    for path in ("sda", "mem"):
        assert path not in decided.devices
    assert set(decided.devices) <= facts.devices
    assert wished.graphics or "nvidia0" not in decided.devices


@given(cases())
def test_processes_are_always_limited_and_leave_room(case: tuple[HostFacts, Wishes]) -> None:
    facts, wished = case
    limit = plan(facts, wished).limits.processes
    assert 1 <= limit <= max(1, facts.processes_max // 2)


def test_default_capabilities_are_dockers() -> None:
    numbers = [CAPABILITY_NUMBERS[name] for name in DEFAULT_CAPABILITIES]
    assert sum(1 << number for number in numbers) == DOCKERS_CAPABILITIES


def test_overlay_is_mounted_with_the_mask_just_above_the_image() -> None:
    facts = empty_host()
    overlay = plan(facts, replace(WISHES, lower=("/checkpoint", "/"))).overlay
    assert overlay.data("/mask") == (
        "lowerdir=/checkpoint:/mask:/,upperdir=/volume/active/upper,workdir=/volume/active/work,"
        "redirect_dir=off,metacopy=off,index=off,nfs_export=off,xino=off"
    )
    assert overlay.data(None).startswith("lowerdir=/checkpoint:/,upperdir=")


@pytest.mark.parametrize("path", ["/a:b", "/a,b", "/a\\b", "relative", "/a/../b", "/a/", "//a", ""])
def test_layer_that_would_be_read_otherwise_is_refused(path: str) -> None:
    for wished in (
        replace(WISHES, lower=(path, "/")),
        replace(WISHES, upper=path),
        replace(WISHES, work=path),
    ):
        with pytest.raises(UnusablePathError):
            plan(empty_host(), wished)
    with pytest.raises(UnusablePathError):
        plan(empty_host(), replace(WISHES, lower=()))


def test_nested_container_engines_say_what_they_cost() -> None:
    decided = plan(empty_host(), replace(WISHES, profile="docker"))
    assert any("docker" in sentence for sentence in decided.gives_up)
    assert "mount" not in decided.seccomp.refused
    assert "mount" in plan(empty_host(), WISHES).seccomp.refused


def empty_host() -> HostFacts:
    return HostFacts(
        mounts=(mount("/"),),
        devices=frozenset(),
        folders={},
        secrets=frozenset(),
        password_files={},
        commands_folder=COMMANDS_FOLDER,
        resolv_conf="",
        hosts="",
        processes_max=32768,
    )


@given(st.lists(paths))
def test_topmost_folders_cover_all_and_none_covers_another(given_paths: list[str]) -> None:
    found = topmost(given_paths)
    assert all(any(is_within(path, top) for top in found) for path in given_paths)
    assert all(a == b or not is_within(a, b) for a in found for b in found)
    assert set(found) <= set(given_paths)


@given(paths)
def test_ancestors_lead_to_a_path(path: str) -> None:
    above = ancestors(path)
    assert all(is_normal(folder) and is_within(path, folder) for folder in above)
    assert len(above) == path.count("/") - 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ann:$6$salt$hash:19000:0:99999:7:::\n", "ann:*:19000:0:99999:7:::\n"),
        ("bob:!$6$salt$hash:19000::::::\n", "bob:!:19000::::::\n"),
        ("root:*:19000::::::\n", "root:*:19000::::::\n"),
        ("guest::19000::::::\n", "guest::19000::::::\n"),
        ("wheel:!*::ann\n", "wheel:!::ann\n"),
        ("not a line\n", "not a line\n"),
        ("", ""),
    ],
)
def test_password_files_lose_their_hashes_and_nothing_else(line: str, expected: str) -> None:
    assert without_hashes(line) == expected


@given(st.text(alphabet="ab:$!*\n"))
def test_no_hash_survives(text: str) -> None:
    before, after = text.split("\n"), without_hashes(text).split("\n")
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        fields = new.split(":")
        assert len(fields) < 2 or fields[1] in {"", "*", "!"}
        assert fields[:1] + fields[2:] == old.split(":")[:1] + old.split(":")[2:]
