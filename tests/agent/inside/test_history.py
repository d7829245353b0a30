"""What people read about what was saved."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import TYPE_CHECKING

import msgspec

from agent.inside.documents import history_document
from agent.inside.history import history_text, not_saved_text, saved_text
from agent.inside.saving import Kept
from common.messages import RunPhase
from tests.agent.inside.served import CHECKPOINT, GB, NOON

if TYPE_CHECKING:
    from agent.checkpointing.captures import Commit
    from tests.agent.inside.served import Subject

EAST = timezone(timedelta(hours=2))
NEW_BYTES = 3_565_158


def committed(subject: Subject, after: timedelta) -> Commit:
    subject.new_bytes = NEW_BYTES
    subject.commit(NOON + after)
    subject.say_of_checkpoint(committed_at=NOON + after)
    return subject.commits[-1]


def kept(new: Commit | None, *, torn_files: int = 0) -> Kept:
    return Kept(
        committed_at=NOON + timedelta(seconds=5),
        generation=3,
        entries=12431,
        file_bytes=GB * 6 // 5,
        torn_files=torn_files,
        new=new,
    )


def test_saving_says_as_of_when_how_much_and_how_long(subject: Subject) -> None:
    new = committed(subject, timedelta(seconds=5))
    assert saved_text(kept(new), NOON, EAST) == (
        "Saved: 12 431 files and folders, 1.2 GB; 3.4 MB were new. It took 2.1 s, and holds all "
        "that was there at 14:00:05 UTC+2."
    )


def test_saving_that_found_nothing_new_says_that_all_is_safe() -> None:
    assert saved_text(kept(None), NOON, EAST) == (
        "Nothing had changed: 12 431 files and folders, 1.2 GB are saved, as they were at "
        "14:00:05 UTC+2."
    )


def test_files_that_were_written_to_meanwhile_are_named_with_what_helps() -> None:
    assert "One file changed while being read" in saved_text(kept(None, torn_files=1), NOON, EAST)
    text = saved_text(kept(None, torn_files=1200), NOON, EAST)
    assert "1 200 files changed while being read" in text
    assert text.endswith("`studio save` again when nothing writes to them.")


def test_history_is_what_it_began_with_and_what_was_saved_since(subject: Subject) -> None:
    committed(subject, timedelta(minutes=5))
    committed(subject, timedelta(minutes=10))
    view = subject.view(now=NOON + timedelta(minutes=13, seconds=9), zone=EAST)
    assert history_text(view).splitlines() == [
        "Checkpoint 0123456789abcdef",
        "Began with the files of checkpoint fedcba9876543210",
        "",
        "No.  Saved as of   Files    Size     New   Took",
        "  3     14:05:00  12 431  1.2 GB  3.4 MB  2.1 s",
        "  4     14:10:00  12 431  1.2 GB  3.4 MB  2.1 s",
        "",
        "Times are in UTC+2. If this machine were lost now, what was changed since 14:10:00 "
        "(3 min ago) would be lost.",
    ]


def test_history_over_midnight_names_the_day(subject: Subject) -> None:
    committed(subject, timedelta(hours=9))
    committed(subject, timedelta(hours=11))
    text = history_text(subject.view(now=NOON + timedelta(hours=11), zone=EAST))
    assert "  3  2030-01-01 23:00:00  12 431" in text
    assert "  4             01:00:00  12 431" in text


def test_history_of_a_session_that_saved_nothing_yet_says_what_is_at_risk(
    subject: Subject,
) -> None:
    subject.say_of_checkpoint(committed_at=None, parent_id=None, generation=0)
    assert history_text(subject.view()).splitlines() == [
        "Checkpoint 0123456789abcdef",
        "Began with the image, and nothing saved before",
        "",
        "Times are in UTC. If this machine were lost now, all that this session has changed would "
        "be lost.",
    ]


def test_history_names_what_an_earlier_session_had_left(subject: Subject) -> None:
    subject.say(earlier_checkpoint=msgspec.structs.replace(CHECKPOINT, id="1111222233334444"))
    [row] = [row for row in history_text(subject.view()).splitlines() if "unsaved" in row]
    assert row == (
        "Saved then what the session before had left unsaved, as checkpoint 1111222233334444, "
        "at 12:00 UTC"
    )


def test_history_says_why_it_goes_no_further(subject: Subject) -> None:
    subject.say(warnings=("The walls lack a door.",))
    subject.say_of_checkpoint(message="The bucket is away.", torn_files=2)
    text = history_text(subject.view(now=NOON + timedelta(hours=1)))
    assert "What was changed in the last 1 h is not saved. The bucket is away." in text
    assert "2 files changed while being read" in text
    assert "walls" not in text


def test_history_of_a_session_without_a_checkpoint_is_a_sentence(subject: Subject) -> None:
    subject.say(checkpoint=None)
    assert history_text(subject.view()).startswith("This session has no checkpoint: its files stay")


def test_saving_that_failed_says_what_is_safe_and_what_comes_next(subject: Subject) -> None:
    view = subject.view(now=NOON + timedelta(minutes=7), zone=EAST)
    assert not_saved_text("The files could not be saved: the bucket is away.", view) == (
        "The files could not be saved: the bucket is away. What was there at 14:00:00 UTC+2 is "
        "safe. It is tried again by itself: see `studio history`."
    )
    subject.say_of_checkpoint(committed_at=None)
    assert " Nothing was saved before. It is " in not_saved_text("It failed.", subject.view())
    subject.say(checkpoint=None)
    assert not_saved_text("It failed.", subject.view()).startswith("This session has no checkpoint")


def test_session_that_ends_promises_no_other_attempt(subject: Subject) -> None:
    subject.say(phase=RunPhase.STOPPING)
    assert "again" not in not_saved_text("It is ending.", subject.view())


def test_document_of_the_history_has_the_names_of_the_api(subject: Subject) -> None:
    committed(subject, timedelta(minutes=5))
    view = subject.view(now=NOON + timedelta(minutes=6))
    assert subject.report.checkpoint is not None
    document = msgspec.to_builtins(history_document(view, subject.report.checkpoint))
    assert document["checkpoint"]["parentId"] == "fedcba9876543210"
    assert (document["checkpointAgeSeconds"], document["earlierCheckpoint"]) == (60.0, None)
    assert list(document["generations"]) == [
        {
            "generation": 3,
            "createdAt": "2030-01-01T12:05:00Z",
            "entries": 12431,
            "fileBytes": GB * 6 // 5,
            "newBytes": NEW_BYTES,
            "seconds": 2.14,
        }
    ]
