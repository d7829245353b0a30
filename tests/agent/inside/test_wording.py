"""What people in the session read."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone

import msgspec
import pytest
from hypothesis import given, strategies as st

from agent.inside.documents import space_document, status_document
from agent.inside.history import history_text, not_saved_text
from agent.inside.phrases import size
from agent.inside.wording import extended_text, space_text, status_text
from common.messages import RunPhase, ToolPhase, ToolStatus, VolumeStatus
from tests.agent.inside.served import GB, NOON, Subject

FULL = VolumeStatus(
    size_bytes=30 * GB,
    free_bytes=GB // 4,
    limit_bytes=30 * GB,
    full=True,
    message="the volume is at its limit of 30 GB: delete files to go on",
)


def line(text: str, label: str) -> str:
    """Return what stands beside a label; there must be one such line."""
    (found,) = [row for row in text.splitlines() if row.startswith(f"{label} ")]
    return found.removeprefix(label).strip()


def test_status_is_a_table(subject: Subject) -> None:
    subject.obey(deadline=NOON + timedelta(hours=3, minutes=12, seconds=30))
    subject.say(warnings=("Memory ran out.", "The walls lack a door."))
    assert status_text(subject.view(since=NOON - timedelta(minutes=62))).splitlines() == [
        "Studio     genome",
        "Session    a1b2c3d4, run 3, since 10:58 UTC (1 h 2 min)",
        "End        stops in 3 h 12 min, at 15:12 UTC: extend with `studio extend`",
        "Tool       jupyterlab runs",
        "Volume     512 MB of 2 GB used, grows up to 30 GB",
        "Saved      less than a minute ago",
        "Warning    Memory ran out.",
        "Warning    The walls lack a door.",
    ]


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (timedelta(seconds=59), "stops in less than a minute, at 12:00 UTC"),
        (timedelta(seconds=60), "stops in 1 min, at 12:01 UTC"),
        (timedelta(hours=1), "stops in 1 h, at 13:00 UTC"),
        (timedelta(hours=13), "stops in 13 h, at 2030-01-02 01:00 UTC"),
        (timedelta(days=4, hours=23, minutes=59), "stops in 4 d 23 h, at 2030-01-06 11:59 UTC"),
        (timedelta(0), "its lifespan is over, it stops any moment"),
        (timedelta(hours=-1), "its lifespan is over, it stops any moment"),
    ],
)
def test_end_is_said_in_time_left_rounded_down(
    subject: Subject, left: timedelta, said: str
) -> None:
    subject.obey(deadline=NOON + left)
    assert line(status_text(subject.view()), "End") == f"{said}: extend with `studio extend`"


def test_session_without_an_end_says_so(subject: Subject) -> None:
    subject.obey(deadline=None)
    assert "keeps running" in line(status_text(subject.view()), "End")


def test_end_is_not_made_up_before_the_control_plane_was_heard(subject: Subject) -> None:
    subject.obey(deadline=None, version=0)
    assert "not known yet" in line(status_text(subject.view()), "End")


def test_session_that_stops_says_why(subject: Subject) -> None:
    subject.say(phase=RunPhase.STOPPING, message="its lifespan has ended")
    assert line(status_text(subject.view()), "End") == "is stopping: its lifespan has ended"
    subject.say(message="")
    assert line(status_text(subject.view()), "End") == "is stopping"


@pytest.mark.parametrize("phase", list(ToolPhase))
def test_every_phase_of_the_tool_has_words(subject: Subject, phase: ToolPhase) -> None:
    subject.say(tool=ToolStatus(phase=phase))
    assert line(status_text(subject.view()), "Tool").startswith("jupyterlab ")


@pytest.mark.parametrize(
    ("restarts", "last_exit", "said"),
    [
        (1, "exit code 1", "(started again once, the last time after exit code 1)"),
        (4, "killed by SIGKILL", "(started again 4 times, the last time after killed by SIGKILL)"),
        (2, None, "(started again 2 times)"),
    ],
)
def test_tool_that_was_started_again_says_so(
    subject: Subject, restarts: int, last_exit: str | None, said: str
) -> None:
    subject.say(tool=ToolStatus(phase=ToolPhase.READY, restarts=restarts, last_exit=last_exit))
    assert line(status_text(subject.view()), "Tool") == f"jupyterlab runs {said}"


def test_volume_in_short(subject: Subject) -> None:
    subject.say(volume=FULL)
    assert line(status_text(subject.view()), "Volume") == (
        "29.8 GB of 30 GB used, full: see `studio space`"
    )
    subject.say(volume=msgspec.structs.replace(FULL, full=False, message=""))
    assert line(status_text(subject.view()), "Volume").endswith("as large as it may be")
    subject.say(volume=None)
    assert line(status_text(subject.view()), "Volume") == "not measured yet"


def test_space_says_how_much_and_what_comes_next(subject: Subject) -> None:
    assert space_text(subject.view()).splitlines() == [
        "Size       2 GB",
        "Used       512 MB (25 %)",
        "Free       1.5 GB",
        "Limit      30 GB",
        "",
        "It grows by 2 GB when less than 1 GB is free, up to 30 GB.",
    ]


def test_full_volume_says_what_to_do(subject: Subject) -> None:
    subject.say(volume=FULL)
    text = space_text(subject.view())
    assert "The volume is at its limit of 30 GB: delete files to go on.\n" in text
    assert "It is as large as it may be: 30 GB." in text
    assert "du -xh" in text


def test_volume_that_can_t_grow_says_why(subject: Subject) -> None:
    volume = VolumeStatus(
        size_bytes=2 * GB, free_bytes=GB // 2, limit_bytes=30 * GB, message="the disk is full."
    )
    subject.say(volume=volume)
    assert "\nThe disk is full.\n" in space_text(subject.view())


def test_space_that_was_not_measured_is_not_made_up(subject: Subject) -> None:
    subject.say(volume=None)
    assert space_text(subject.view()) == "The session's volume has not been measured yet."
    subject.say(volume=VolumeStatus(size_bytes=0, free_bytes=0, limit_bytes=GB, message="broken"))
    assert space_text(subject.view()).startswith("Limit      1 GB\n\nBroken.\n")
    assert space_document(subject.view()).used_bytes is None


def test_extension_says_the_new_end() -> None:
    deadline = NOON + timedelta(hours=8)
    assert extended_text(deadline, NOON, UTC) == "The session now stops in 8 h, at 20:00 UTC."


@given(st.text())
def test_nothing_is_printed_that_a_terminal_would_obey(text: str) -> None:
    subject = Subject()
    subject.say(warnings=(text,), volume=msgspec.structs.replace(FULL, message=text))
    subject.say_of_checkpoint(message=text, parent_id=text)
    view = subject.view(now=NOON + timedelta(days=1))
    for printed in (
        status_text(view),
        space_text(view),
        history_text(view),
        not_saved_text(text, view),
    ):
        assert all(letter.isprintable() or letter == "\n" for letter in printed)
    assert len(status_text(view).splitlines()) == 8


def test_times_are_told_in_the_zone_of_whoever_asks(subject: Subject) -> None:
    subject.obey(deadline=NOON + timedelta(hours=11))
    east = subject.view(zone=timezone(timedelta(hours=5, minutes=30)))
    assert line(status_text(east), "End").startswith("stops in 11 h, at 2030-01-02 04:30 UTC+5:30")
    west = subject.view(zone=timezone(-timedelta(hours=3)))
    assert line(status_text(west), "End").startswith("stops in 11 h, at 20:00 UTC-3:")


@pytest.mark.parametrize(
    ("size_bytes", "said"),
    [
        (0, "0 MB"),
        (1, "1 KB"),
        (1025, "2 KB"),
        (3_565_158, "3.4 MB"),
        (20 * 1024**2, "20 MB"),
        (GB * 6 // 5, "1.2 GB"),
    ],
)
def test_sizes_are_told_as_far_as_they_matter(size_bytes: int, said: str) -> None:
    assert size(size_bytes) == said


def test_documents_have_the_names_of_the_api(subject: Subject) -> None:
    status = msgspec.to_builtins(status_document(subject.view()))
    assert status["sessionId"] == "a1b2c3d4"
    assert status["toolPhase"] == "ready"
    assert status["volume"]["sizeBytes"] == 2 * GB
    assert msgspec.to_builtins(space_document(subject.view())) == {
        "sizeBytes": 2 * GB,
        "usedBytes": GB // 2,
        "freeBytes": 3 * GB // 2,
        "limitBytes": 30 * GB,
        "stepBytes": 2 * GB,
        "freeBytesMin": GB,
        "full": False,
        "message": "",
    }


def test_no_document_holds_a_secret(subject: Subject) -> None:
    everything = f"{status_document(subject.view())}{space_document(subject.view())}"
    assert "agent-token" not in everything
