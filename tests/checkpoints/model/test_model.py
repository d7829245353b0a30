"""Random histories of writers, readers, deletions and collections: nothing committed is ever lost.

Every step is a decision of hypothesis: who goes on for how many storage operations, what becomes of
one, who ends, how much time passes. What must hold, `World` asserts after every change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.support.checkpoint_model_actors import CONTENTS, EDITS, PATHS
from tests.support.checkpoint_model_gate import Fate
from tests.support.checkpoint_model_history import History

if TYPE_CHECKING:
    from collections.abc import Mapping

Step = tuple[str, "Mapping[str, Any]"]

NUMBERS = st.integers(0, 99)
WHICH = st.integers(0, 3)
OPERATIONS = st.sampled_from([0, 1, 3, 8, 1000, 1000, 1000, 1000])
"""After so many somebody else goes on; mostly at the end."""
BEHIND_DAYS = st.sampled_from([0, 0, 1, 400])
"""How late a machine's calendar is. Early it can't be, with the times that files get here."""
EDIT_LISTS = st.lists(
    st.tuples(st.sampled_from(EDITS), st.sampled_from(PATHS), st.integers(0, CONTENTS - 1)),
    min_size=1,
    max_size=6,
)
LOGGED_MAX = 2000
"""Of what happened last, when something is wrong."""
MEANWHILE = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([11, 11, 50, 300, 1500])),
    st.tuples(st.just("collect"), st.just(0)),
    st.tuples(st.sampled_from(["sweep", "sweep", "delete"]), NUMBERS),
)
FINALLY = st.sampled_from([False, False, False, True])

STEPS: Mapping[str, tuple[int, dict[str, st.SearchStrategy[Any]]]] = {
    "begin": (1, {"behind_days": BEHIND_DAYS, "operations": OPERATIONS}),
    "continue_": (
        3,
        {
            "number": NUMBERS,
            "seals": st.booleans(),
            "behind_days": BEHIND_DAYS,
            "operations": OPERATIONS,
        },
    ),
    "begin_again": (
        1,
        {
            "number": NUMBERS,
            "is_later": st.booleans(),
            "is_cut": st.booleans(),
            "behind_days": BEHIND_DAYS,
            "operations": OPERATIONS,
        },
    ),
    "write": (
        8,
        {
            "number": NUMBERS,
            "edits": EDIT_LISTS,
            "is_listed": st.booleans(),
            "is_final": FINALLY,
            "operations": OPERATIONS,
        },
    ),
    "work": (3, {"number": NUMBERS, "writes": st.lists(EDIT_LISTS, min_size=2, max_size=5)}),
    "succeed": (
        3,
        {
            "number": NUMBERS,
            "writes": st.lists(EDIT_LISTS, min_size=2, max_size=5),
            "is_deleted": st.booleans(),
            "operations": OPERATIONS,
        },
    ),
    "race": (
        4,
        {
            "number": NUMBERS,
            "edits": EDIT_LISTS,
            "operations": st.one_of(st.none(), st.integers(0, 25)),
            "meanwhile": st.lists(MEANWHILE, min_size=1, max_size=4),
        },
    ),
    "sweep": (3, {"number": NUMBERS, "operations": OPERATIONS}),
    "read": (2, {"number": NUMBERS, "restores": st.booleans(), "operations": OPERATIONS}),
    "verify": (1, {"operations": OPERATIONS}),
    "delete": (1, {"number": NUMBERS, "operations": OPERATIONS}),
    "collect": (
        2,
        {"behind_days": st.sampled_from([-30, -1, 0, 1, 30]), "operations": OPERATIONS},
    ),
    "collect_repeatedly": (
        2,
        {"times": st.integers(2, 4), "hours": st.sampled_from([5, 25, 25])},
    ),
    "go_on": (5, {"number": NUMBERS, "which": WHICH, "operations": OPERATIONS}),
    "decide": (2, {"number": NUMBERS, "which": WHICH, "fate": st.sampled_from(Fate)}),
    "cut": (1, {"number": NUMBERS, "fates": st.lists(st.sampled_from(Fate), max_size=3)}),
    "mark": (2, {"number": NUMBERS}),
    "arrive": (1, {"number": NUMBERS}),
    "wait": (
        3,
        {
            "minutes": st.sampled_from([11, 50, 120, 300, 660, 1500, 11_520]),
            "is_stale": st.booleans(),
        },
    ),
}
WEIGHTED = [name for name, (weight, _) in STEPS.items() for _ in range(weight)]


def step(name: str) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), st.fixed_dictionaries(STEPS[name][1]))


HISTORIES = st.lists(st.sampled_from(WEIGHTED).flatmap(step), min_size=25, max_size=50)


def play(steps: list[Step]) -> None:
    history = History()
    try:
        for name, arguments in steps:
            getattr(history, name)(**arguments)
        history.conclude()
    except Exception as error:
        error.add_note("\n".join(history.world.log[-LOGGED_MAX:]))
        raise
    finally:
        history.close()


@pytest.mark.timeout(900)  # one that fails is made shorter for up to five minutes
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(HISTORIES)
def test_whatever_happens_nothing_that_was_committed_is_lost(steps: list[Step]) -> None:
    play(steps)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@settings(max_examples=1500, suppress_health_check=list(HealthCheck))
@given(HISTORIES)
def test_for_long_nothing_that_was_committed_is_lost(steps: list[Step]) -> None:
    play(steps)
