"""When a capture is due."""

from __future__ import annotations

from agent.checkpointing.schedule import RETRY_SECONDS_MAX, RETRY_SECONDS_MIN, Schedule

BEGUN = Schedule(begun_at=100.0, ended_at=100.0)


def due(schedule: Schedule, now: float, interval_seconds: float = 300.0) -> float:
    return schedule.due_in(now, interval_seconds=interval_seconds)


def test_captures_begin_at_the_pace_of_the_interval_however_long_they_take() -> None:
    assert due(BEGUN, 100.0) == 300.0
    later = BEGUN.begun(400.0).succeeded(520.0)
    assert due(later, 520.0) == 180.0


def test_one_that_took_longer_than_the_interval_is_followed_at_once_and_not_by_two() -> None:
    late = BEGUN.begun(400.0).succeeded(1400.0)
    assert due(late, 1400.0) == 0.0
    assert due(late.begun(1400.0), 1400.0) == 300.0


def test_who_asks_is_answered_at_once_and_once() -> None:
    asked = BEGUN.requested()
    assert due(asked, 101.0) == 0.0
    assert due(asked.begun(101.0), 101.0) == 300.0


def test_who_asks_while_one_is_under_way_gets_the_next_one() -> None:
    asked = BEGUN.begun(400.0).requested().succeeded(410.0)
    assert due(asked, 410.0) == 0.0


def test_what_failed_is_tried_again_sooner_and_then_less_often() -> None:
    schedule, waits = BEGUN.begun(400.0), []
    for _ in range(12):
        schedule = schedule.failed(400.0)
        waits.append(due(schedule, 400.0))
    assert waits[:3] == [RETRY_SECONDS_MIN, 2 * RETRY_SECONDS_MIN, 4 * RETRY_SECONDS_MIN]
    assert waits == sorted(waits)
    assert waits[-1] == RETRY_SECONDS_MAX


def test_what_failed_is_never_tried_less_often_than_the_interval() -> None:
    failed = BEGUN.begun(400.0).failed(400.0).failed(400.0)
    assert due(failed, 400.0, interval_seconds=5.0) == 5.0


def test_success_ends_the_waits() -> None:
    mended = BEGUN.begun(400.0).failed(401.0).failed(402.0).begun(410.0).succeeded(411.0)
    assert due(mended, 411.0) == 299.0
    assert mended.failed(411.0).failures == 1
