"""The restart policy, without any process."""

from __future__ import annotations

from agent.supervisor.restart import (
    CRASHES_MAX,
    HEALTHY_SECONDS,
    NEVER_READY_MAX,
    PAUSE_SECONDS_MAX,
    WINDOW_SECONDS,
    Ended,
    GiveUp,
    History,
    RestartIn,
    decide,
)


def lives(
    *, each_seconds: float, ready_seconds: float | None, count: int
) -> list[RestartIn | GiveUp]:
    """Return the decisions after `count` lives of that length, each started as decided."""
    history, at = History(), 0.0
    decisions: list[RestartIn | GiveUp] = []
    for _ in range(count):
        at += each_seconds
        history, decision = decide(history, Ended(at, "exit code 1", ready_seconds))
        decisions.append(decision)
        if isinstance(decision, RestartIn):
            at += decision.seconds
    return decisions


def test_pauses_double_until_it_is_given_up() -> None:
    decisions = lives(each_seconds=0.1, ready_seconds=None, count=CRASHES_MAX)
    assert decisions[:-1] == [RestartIn(seconds) for seconds in (0.5, 1.0, 2.0, 4.0, 8.0)]
    assert decisions[-1] == GiveUp("ended 6 times within 5 min: exit code 1")


def test_a_pause_is_never_longer_than_the_maximum() -> None:
    decisions = lives(each_seconds=59, ready_seconds=58, count=20)
    pauses = [decision.seconds for decision in decisions if isinstance(decision, RestartIn)]
    assert len(pauses) == 20, "one crash a minute stays below the limit"
    assert max(pauses) == PAUSE_SECONDS_MAX


def test_a_healthy_life_makes_former_crashes_forgotten() -> None:
    history = History()
    for _ in range(CRASHES_MAX - 1):
        history, _ = decide(history, Ended(1.0, "exit code 1"))
    healthy = Ended(1.0 + HEALTHY_SECONDS, "killed by SIGKILL", HEALTHY_SECONDS)
    history, decision = decide(history, healthy)
    assert decision == RestartIn(0.5)
    assert history.crashes == (healthy.at_seconds,)


def test_crashes_before_the_window_do_not_count() -> None:
    history = History(crashes=(0.0,) * (CRASHES_MAX - 1))
    _, inside = decide(history, Ended(WINDOW_SECONDS - 1, "exit code 1", 1.0))
    _, after = decide(history, Ended(WINDOW_SECONDS + 1, "exit code 1", 1.0))
    assert isinstance(inside, GiveUp)
    assert isinstance(after, RestartIn)


def test_a_tool_that_slowly_dies_before_it_answers_is_given_up_too() -> None:
    decisions = lives(each_seconds=200, ready_seconds=None, count=NEVER_READY_MAX)
    assert [type(decision) for decision in decisions] == [RestartIn] * 5 + [GiveUp]


def test_a_life_that_answered_ends_the_row_of_those_that_did_not() -> None:
    history = History(never_ready=NEVER_READY_MAX - 1)
    history, _ = decide(history, Ended(1000.0, "exit code 1", 1.0))
    assert history.never_ready == 0
