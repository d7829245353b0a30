"""How old what is saved is, and when that is a warning."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agent.inside.documents import status_document
from agent.inside.lateness import CAPTURE_SECONDS, INTERVALS_MAX, age_in_short, warnings
from common.messages import CheckpointPhase
from common.session_spec import SessionSettings
from tests.agent.inside.served import NOON

if TYPE_CHECKING:
    from tests.agent.inside.served import Subject

INTERVAL_SECONDS = SessionSettings().checkpoint_interval_seconds
BORNE = timedelta(seconds=INTERVALS_MAX * INTERVAL_SECONDS + CAPTURE_SECONDS)
LATE = BORNE + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "3 min ago"),
        ({"in_progress": True}, "3 min ago, and being saved now"),
        ({"committed_at": None}, "nothing yet"),
        ({"committed_at": None, "in_progress": True}, "nothing yet, and being saved now"),
        ({"phase": CheckpointPhase.FINALIZED}, "all of it"),
        ({"committed_at": NOON + timedelta(days=1)}, "less than a minute ago"),
    ],
)
def test_status_says_how_old_what_is_saved_is(
    subject: Subject, changes: dict[str, object], said: str
) -> None:
    subject.say_of_checkpoint(**changes)
    assert age_in_short(subject.view(now=NOON + timedelta(seconds=200))) == said


def test_status_of_a_session_without_a_checkpoint_says_where_its_files_are(
    subject: Subject,
) -> None:
    subject.say(checkpoint=None)
    view = subject.view(now=NOON + 2 * BORNE)
    assert age_in_short(view) == "on this machine only: the session has no checkpoint"
    assert warnings(view) == ()


def test_two_intervals_and_a_minute_are_borne_in_silence(subject: Subject) -> None:
    subject.say(warnings=("The walls lack a door.",))
    assert warnings(subject.view(now=NOON + BORNE)) == ("The walls lack a door.",)
    assert len(warnings(subject.view(now=NOON + LATE))) == 2


def test_longer_interval_is_borne_longer(subject: Subject) -> None:
    subject.obey(settings=SessionSettings(checkpoint_interval_seconds=2 * INTERVAL_SECONDS))
    assert warnings(subject.view(now=NOON + LATE)) == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"message": "The files could not be saved: the bucket refuses the credentials."},
            "The files could not be saved: the bucket refuses the credentials. "
            "It is tried again by itself.",
        ),
        ({"in_progress": True}, "It is being saved now, which takes long"),
        ({}, "Save it with `studio save`."),
    ],
)
def test_lateness_says_why_and_what_comes_next(
    subject: Subject, changes: dict[str, object], said: str
) -> None:
    subject.say_of_checkpoint(**changes)
    [warning] = warnings(subject.view(now=NOON + LATE))
    assert warning.startswith("What was changed in the last 11 min is not saved. " + said)


def test_session_that_was_never_saved_is_late_since_its_beginning(subject: Subject) -> None:
    subject.say_of_checkpoint(committed_at=None, message="The disk is full.")
    assert warnings(subject.view(now=NOON + BORNE)) == ()
    [warning] = warnings(subject.view(now=NOON + LATE))
    assert warning.startswith("None of the files have been saved yet. The disk is full.")


def test_session_that_is_saved_for_good_is_never_late(subject: Subject) -> None:
    subject.say_of_checkpoint(phase=CheckpointPhase.FINALIZED)
    assert warnings(subject.view(now=NOON + 2 * BORNE)) == ()


def test_programs_see_age_and_warning_too(subject: Subject) -> None:
    document = status_document(subject.view(now=NOON + LATE))
    assert document.checkpoint_age_seconds == LATE.total_seconds()
    assert len(document.warnings) == 1
