"""What is decided about checkpoints, and what they are called and searched by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from checkpoints.format.ids import CheckpointId
from common.ids import RunNumber, UserId
from common.messages import CheckpointPhase, RunPhase
from control_plane.checkpoint_life import (
    DATE_NEWS_SECONDS,
    advanced,
    is_being_written,
    is_news,
    is_saving,
    leftovers,
    may_be_saved,
)
from control_plane.checkpoint_names import first_name, problems_of_checkpoint_name, spelled
from control_plane.checkpoint_search import CheckpointSearch, parse_search
from control_plane.errors import InvalidError
from control_plane.model import DEFAULT_COMPUTE_ENV, JobStanding, PersonName, Status
from control_plane.model_checkpoints import Checkpoint, CheckpointState
from tests.control_plane.core.checkpoint_scene import status_of
from tests.control_plane.core.simulated_agent import EPOCH, SESSION, Agent, studio

ID = CheckpointId("0123456789abcdef")
SECOND = timedelta(seconds=1)


def checkpoint(**fields: Any) -> Checkpoint:
    known = {
        "storage_id": ID,
        "session_id": SESSION,
        "name": "demo_1",
        "author": PersonName(id=UserId(1), name="Ada"),
        "run_number": RunNumber(1),
        "compute_env_id": DEFAULT_COMPUTE_ENV,
        "work_dir": "file:///work",
        "date_created": EPOCH,
    }
    return Checkpoint(**{**known, **fields})


# ── What agents say ──────────────────────────────────────────────────────────


def test_a_checkpoint_goes_forwards() -> None:
    one = advanced(checkpoint(), status_of(ID, 1, committed_at=EPOCH, image="i"), EPOCH + SECOND)
    assert (one.state, one.generation, one.date_saved) == (CheckpointState.INTERIM, 1, EPOCH)
    assert (one.entries, one.file_bytes, one.stored_bytes, one.image) == (3, 1000, 500, "i")
    final = status_of(ID, 2, committed_at=EPOCH + SECOND, phase=CheckpointPhase.FINALIZED)
    two = advanced(one, final, EPOCH + 2 * SECOND)
    assert (two.state, two.generation) == (CheckpointState.FINALIZED, 2)
    assert two.date_saved == EPOCH + SECOND


def test_old_news_changes_nothing() -> None:
    final = checkpoint(state=CheckpointState.FINALIZED, generation=5, date_saved=EPOCH)
    assert advanced(final, status_of(ID, 4, committed_at=EPOCH + SECOND), EPOCH) is final
    late = advanced(final, status_of(ID, 5, committed_at=EPOCH - SECOND), EPOCH)
    assert (late.state, late.date_saved) == (CheckpointState.FINALIZED, EPOCH)
    unsaid = advanced(final, status_of(ID, 5, image=""), EPOCH)
    assert unsaid.date_saved == EPOCH


def test_files_longer_than_a_database_can_say_are_as_long_as_it_can() -> None:
    """Three with nothing in them are enough."""
    found = advanced(checkpoint(), status_of(ID, 1, file_bytes=2**64 - 1), EPOCH)
    assert found.file_bytes == 2**63 - 1


def test_what_is_damaged_stays_so() -> None:
    invalid = checkpoint(state=CheckpointState.INVALID, generation=1)
    assert advanced(invalid, status_of(ID, 2), EPOCH).state is CheckpointState.INVALID
    assert not invalid.holds_something


def test_nothing_is_safe_before_the_first_generation() -> None:
    said = status_of(ID, 0, committed_at=EPOCH)
    assert advanced(checkpoint(), said, EPOCH).date_saved is None


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (EPOCH + timedelta(days=1), EPOCH),  # a clock that is ahead
        (EPOCH.replace(tzinfo=None), EPOCH),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), None),
        (datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=9))), None),
    ],
)
def test_any_time_that_an_agent_says_can_be_kept(said: datetime, kept: datetime | None) -> None:
    after = advanced(checkpoint(), status_of(ID, 1, committed_at=said), EPOCH)
    assert after.date_saved == kept
    assert after.date_saved is None or after.date_saved.tzinfo is UTC


def test_sizes_are_never_negative() -> None:
    said = status_of(ID, 1, entries=-1, file_bytes=-1, stored_bytes=-1)
    after = advanced(checkpoint(), said, EPOCH)
    assert (after.entries, after.file_bytes, after.stored_bytes) == (0, 0, 0)
    assert advanced(checkpoint(), status_of(ID, -1), EPOCH).generation == 0


def test_a_little_later_is_no_news_but_all_else_is() -> None:
    before = checkpoint(generation=1, date_saved=EPOCH)
    assert not is_news(before, before)

    def later(seconds: float) -> Checkpoint:
        saved = EPOCH + timedelta(seconds=seconds)
        return msgspec.structs.replace(before, date_saved=saved)

    assert not is_news(before, later(DATE_NEWS_SECONDS - 1))
    assert is_news(before, later(DATE_NEWS_SECONDS))
    for field, value in (("generation", 2), ("state", CheckpointState.FINALIZED), ("message", "x")):
        assert is_news(before, msgspec.structs.replace(before, **{field: value}))
    assert is_news(checkpoint(), checkpoint(date_saved=EPOCH))


# ── Its run ──────────────────────────────────────────────────────────────────


def test_unsaved_ones_go_with_the_next_start_unless_their_agent_was_heard() -> None:
    unsaved = [checkpoint(run_number=RunNumber(run)) for run in (1, 3)]

    assert leftovers(unsaved, opening=RunNumber(4), heard=True) == []
    assert leftovers(unsaved, opening=RunNumber(4), heard=False) == unsaved[1:]
    saved = checkpoint(run_number=RunNumber(2), generation=1)
    assert [may_be_saved(one, saved) for one in unsaved] == [False, True]
    assert [may_be_saved(one, None) for one in unsaved] == [True, True]
    assert not may_be_saved(saved, None)


@pytest.mark.parametrize(
    ("status", "job", "run", "state", "written"),
    [
        (Status.RUNNING, JobStanding.SUBMITTED, 1, CheckpointState.INTERIM, True),
        (Status.STARTING, JobStanding.NONE, 1, CheckpointState.EMPTY, True),
        (Status.STOPPING, JobStanding.SUBMITTED, 1, CheckpointState.INTERIM, True),
        (Status.STOPPING, JobStanding.SUBMITTED, 1, CheckpointState.FINALIZED, False),
        (Status.ERRORED, JobStanding.SUBMITTED, 1, CheckpointState.INTERIM, True),
        (Status.ERRORED, JobStanding.NONE, 1, CheckpointState.INTERIM, False),
        (Status.STOPPED, JobStanding.NONE, 1, CheckpointState.INTERIM, False),
        (Status.RUNNING, JobStanding.SUBMITTED, 2, CheckpointState.INTERIM, False),
    ],
)
def test_it_is_written_while_its_run_may_live(
    status: Status, job: JobStanding, run: int, state: CheckpointState, *, written: bool
) -> None:
    now = msgspec.structs.replace(studio(), status=status, job=job, run_number=RunNumber(run))
    assert is_being_written(checkpoint(state=state), now) is written


def test_it_is_being_saved_from_the_asking_to_the_answer() -> None:
    def now(asked: datetime | None, **said: Any) -> bool:
        report = Agent(RunNumber(1), RunPhase.RUNNING).report()
        if said:
            report = msgspec.structs.replace(
                report, checkpoint=status_of(**{"storage_id": ID, **said})
            )
        running = msgspec.structs.replace(
            studio(),
            status=Status.RUNNING,
            run_number=RunNumber(1),
            checkpoint_requested_at=asked,
            report=report,
        )
        return is_saving(checkpoint(), running)

    assert not now(None)
    assert not now(None, generation=1)
    assert now(None, in_progress=True)
    assert now(EPOCH)
    assert now(EPOCH, generation=1)
    assert now(EPOCH, answered_request_at=EPOCH - SECOND)
    assert not now(EPOCH, answered_request_at=EPOCH)
    assert not now(EPOCH, answered_request_at=EPOCH.replace(tzinfo=None))
    assert not now(None, storage_id="f" * 16, in_progress=True)
    stopped = msgspec.structs.replace(studio(), checkpoint_requested_at=EPOCH)
    assert not is_saving(checkpoint(), stopped)


# ── Names ────────────────────────────────────────────────────────────────────


def test_first_names_are_unique_and_never_too_long() -> None:
    epoch = int(EPOCH.timestamp())
    assert first_name("my Studio", EPOCH, set()) == f"my_Studio_{epoch}"
    taken = {f"my_Studio_{epoch}", f"my_Studio_{epoch}_2"}
    assert first_name("my Studio", EPOCH, taken) == f"my_Studio_{epoch}_3"
    long = first_name("x" * 80, EPOCH, set())
    assert (len(long), long[-11:]) == (80, f"_{epoch}")
    assert problems_of_checkpoint_name(first_name("x" * 80, EPOCH, {long})) == []


def test_names_are_trimmed_and_their_spaces_become_underscores() -> None:
    assert spelled("  a b  c ") == "a_b__c"
    assert spelled("cafe\u0301") == "caf\u00e9"
    for name in ("", "x" * 81, "a\nb", "a\u200bb", "a\0"):
        (problem,) = problems_of_checkpoint_name(name)
        assert problem.endswith(".")
    assert problems_of_checkpoint_name("x" * 80) == []


# ── Searching ────────────────────────────────────────────────────────────────


def test_searches_are_read_in_any_order() -> None:
    wanted = parse_search(
        'numpy status:interim Status:FINALIZED before:2030-01-31 author:"Ada L" "my work" author:x'
    )
    assert wanted == CheckpointSearch(
        states=frozenset({CheckpointState.INTERIM, CheckpointState.FINALIZED}),
        created_before=datetime(2030, 1, 31, tzinfo=UTC),
        authors=("Ada L", "x"),
        words=("numpy", "my_work"),
    )
    assert parse_search(" ") == CheckpointSearch()
    noon = parse_search("after:2030-01-31T12:00:00+02:00").created_after
    assert noon == datetime(2030, 1, 31, 10, tzinfo=UTC)
    for word in ("colour:red", "after:"):  # nothing is meant by these
        assert parse_search(word).words == (word,)


@pytest.mark.parametrize(
    ("search", "sentence"),
    [
        ("status:done", "use status: with empty, interim, finalized, invalid."),
        ("before:yesterday", "write before:2030-01-31"),
        ("after:0001-01-01T00:00:00+05:00", "no date"),
    ],
)
def test_what_cant_be_read_is_named(search: str, sentence: str) -> None:
    with pytest.raises(InvalidError, match=sentence):
        parse_search(search)
