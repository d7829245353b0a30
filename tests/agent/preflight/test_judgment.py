"""Each thing that a host lacks alone is named alone, with what gives it wherever the agent is."""

from __future__ import annotations

import errno
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent.preflight import check
from agent.preflight.facts import Trial
from agent.preflight.judgment import judge, may_try
from agent.preflight.volumes import kind_of_new
from agent.root.confinement import CAPABILITY_NUMBERS, DEFAULT_CAPABILITIES
from agent.volume.kinds import XFS
from common.findings import Surroundings, Verdict, flags, refusal_text, warnings
from tests.agent.preflight.host import GIGABYTE, GOOD, ROOMY, lacks
from tests.agent.preflight.shortages import MISSING, TABLE, WEAKER, calls, without

if TYPE_CHECKING:
    from agent.preflight.facts import Facts


def test_a_host_that_has_everything_has_no_finding_but_good_ones() -> None:
    found = judge(GOOD)
    assert lacks(found) == []
    assert len(found.findings) > 25
    assert (refusal_text(found), warnings(found), flags(found)) == ("", (), "")


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


def test_room_is_told_with_units_and_for_the_size_that_was_chosen() -> None:
    small = replace(ROOMY, free_bytes=GIGABYTE // 4, initial_bytes=GIGABYTE // 2)
    found = judge(replace(GOOD, place=small))
    assert lacks(found)[0].problem == (
        "/var/lib/studios has 256 MB free, a new volume takes 768 MB"
    )
    assert lacks(judge(replace(GOOD, place=replace(small, free_bytes=GIGABYTE)))) == []


def test_where_sessions_are_no_room_for_more_is_a_loss() -> None:
    full = replace(ROOMY, free_bytes=0, has_sessions=True)
    found = judge(replace(GOOD, place=full))
    assert warnings(found) == (
        "/var/lib/studios has 0 MB free, a new volume takes 2.2 GB: no Studio starts for the first "
        "time (make room, or choose another disk, with studios up --data-dir).",
    )
    assert refusal_text(found) == ""


@pytest.mark.parametrize(
    ("change", "futile"),
    [
        ({}, set()),
        ({"loop_control": errno.ENOENT}, {"volume"}),
        ({"loop_node": errno.EPERM}, {"volume"}),
        ({"place": replace(ROOMY, free_bytes=GIGABYTE)}, {"volume"}),
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


WITHOUT_BTRFS = {"btrfs": errno.ENODEV, "overlay": 0, "xfs": 0, "ext4": 0}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, "btrfs"),
        ({"file_systems": WITHOUT_BTRFS}, "xfs"),
        (
            {
                "file_systems": WITHOUT_BTRFS,
                "place": replace(ROOMY, initial_bytes=XFS.size_bytes_min - 1),
            },
            "ext4",
        ),
        ({"file_systems": WITHOUT_BTRFS, "programs": frozenset({"mkfs.ext4"})}, "ext4"),
        ({"file_systems": {**WITHOUT_BTRFS, "xfs": errno.ENODEV}}, "ext4"),
        ({"file_systems": WITHOUT_BTRFS, "programs": frozenset({"mkfs.btrfs"})}, None),
    ],
)
def test_a_new_volume_is_of_the_best_kind_that_the_host_has(
    change: dict[str, Any], kind: str | None
) -> None:
    new = kind_of_new(replace(GOOD, **change))
    assert (new and new.name) == kind
    assert ("volume" in may_try(replace(GOOD, **change))) is (kind is not None)


def test_a_quick_look_leaves_the_weaker_promise_to_the_session() -> None:
    facts = replace(GOOD, file_systems=WITHOUT_BTRFS)
    assert lacks(judge(replace(facts, limits=None))) == []
    (finding,) = lacks(judge(facts))
    assert "half-way" in finding.loss


def test_only_ext4_takes_a_right_more_to_grow() -> None:
    facts = replace(GOOD, file_systems=WITHOUT_BTRFS, capabilities=without("sys_resource"))
    assert "half of the disk" not in " ".join(warnings(judge(facts)))
    facts = replace(facts, programs=GOOD.programs - {"mkfs.xfs"})
    assert "half of the disk" in " ".join(warnings(judge(facts)))


async def test_a_host_that_gives_no_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a folder on a server that is gone: whoever looks hangs in the kernel."""
    answers = threading.Event()
    monkeypatch.setattr(check, "ANSWER_SECONDS_MAX", 0.01)
    monkeypatch.setattr(check, "survey", lambda *_: answers.wait())
    for look in (check.check, check.check_thoroughly):
        found = await look(Path("/gone"), "host")
        assert [finding.need for finding in found.having(MISSING)] == ["answers"]
    answers.set()


async def test_what_a_look_fails_of_is_told_to_who_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def survey(*_: object) -> Facts:
        raise ValueError("this is a bug")

    monkeypatch.setattr(check, "survey", survey)
    with pytest.raises(ValueError, match="this is a bug"):
        await check.check(Path("/"), "host")
