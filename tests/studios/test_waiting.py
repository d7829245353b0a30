"""How phases are shown: lines that stay, and on a terminal what is under way below them."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from common.clock import SystemClock
from studios.failures import CommandError
from studios.phases import Began, Ended, PhaseEvent, Warned
from studios.shapes import StatusInfo, Studio
from studios.waiting import phase_view, wait_for_status

EVENTS: list[PhaseEvent] = [
    Began("Start [the] tool"),
    Ended("Start [the] tool", 1.25, succeeded=True, warnings=("no swap",)),
    Began("Wait"),
    Warned("Wait", ("the store is away",)),
    Ended("Wait", 61.0, succeeded=False),
    Ended("Never seen to begin", 0.0, succeeded=True),
]
LINES = [
    "✓ Start [the] tool  1.2 s",
    "  ! no swap",
    "! Wait: the store is away",
    "✗ Wait  61.0 s",
    "✓ Never seen to begin  0.0 s",
]


def show(*, terminal: bool, events: list[PhaseEvent]) -> str:
    file = StringIO()
    console = Console(
        file=file,
        force_terminal=terminal,
        width=80,
        markup=False,
        highlight=False,
        color_system=None,
    )
    with phase_view(console) as view:
        for event in events:
            view.show(event)
    return file.getvalue()


def test_away_from_a_terminal_there_are_only_lines() -> None:
    assert show(terminal=False, events=EVENTS).splitlines() == LINES


def test_on_a_terminal_the_same_lines_stay() -> None:
    shown = show(terminal=True, events=EVENTS)
    assert [line for line in LINES if line in shown] == LINES


def test_on_a_terminal_what_is_under_way_is_shown_and_taken_away() -> None:
    shown = show(terminal=True, events=EVENTS[:1])
    assert "Start [the] tool 0:00:00" in shown
    assert shown.endswith("\x1b[1A\x1b[2K")  # up one line, and cleared


@pytest.mark.parametrize(
    ("status", "reason", "said"),
    [
        ("stopping", "The folder is away.", "genome did not start: The folder is away. See"),
        ("stopping", "", "genome is stopping, not running. See"),
        ("errored", "It was killed", "genome is errored, not running: It was killed. See"),
    ],
)
async def test_who_waits_for_what_can_not_come_is_told_why(
    status: str, reason: str, said: str
) -> None:
    async def look() -> Studio:
        info = StatusInfo(status=status, message=reason)
        return Studio(session_id="0a1b2c3d", name="genome", status_info=info)

    with pytest.raises(CommandError, match=said):
        await wait_for_status(
            look, "running", clock=SystemClock(), view=phase_view(Console(file=StringIO()))
        )
