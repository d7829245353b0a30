"""What limits did to the session, as people read it."""

from __future__ import annotations

import pytest

from agent.incidents import sentences
from common.messages import RootStatus
from common.session_spec import ResourceLimits

UNLIMITED = ResourceLimits()
GIB = 1024**3


def test_without_an_incident_nothing_is_said() -> None:
    assert sentences(RootStatus(), ResourceLimits(memory_bytes=GIB, processes=10)) == ()


@pytest.mark.parametrize(
    ("names", "count", "said"),
    [
        (("python3",), 1, "python3"),
        (("python3", "R", "python3"), 3, "python3 (2 times), R"),
        (("python3",), 2, "python3 and 1 more"),
        (("R", "R"), 12, "R (2 times) and 10 more"),
        ((), 1, "a process"),
        ((), 5, "5 processes"),
    ],
)
def test_programs_that_were_ended_for_want_of_memory_are_named_and_counted(
    names: tuple[str, ...], count: int, said: str
) -> None:
    root = RootStatus(memory_kills=names, memory_kill_count=count)
    assert sentences(root, UNLIMITED) == (f"The kernel ended {said} because memory ran out.",)


@pytest.mark.parametrize(
    ("memory_bytes", "said"),
    [(4 * GIB, "4 GB"), (GIB // 2, "0.5 GB"), (int(1.5 * GIB), "1.5 GB"), (100 * GIB, "100 GB")],
)
def test_the_session_s_own_limit_is_said_where_it_has_one(memory_bytes: int, said: str) -> None:
    root = RootStatus(memory_kills=("R",), memory_kill_count=1)
    assert sentences(root, ResourceLimits(memory_bytes=memory_bytes)) == (
        f"The kernel ended R because the session used up its {said} of memory.",
    )


def test_the_limit_on_processes_is_said_with_what_helps() -> None:
    [sentence] = sentences(RootStatus(process_limit_hits=7), UNLIMITED)
    assert "as many processes as it may have: end some" in sentence


def test_each_kind_of_incident_is_a_sentence_of_its_own() -> None:
    root = RootStatus(memory_kill_count=1, process_limit_hits=1)
    assert len(sentences(root, UNLIMITED)) == 2
