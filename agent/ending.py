"""The orderly end of a run, step by step: what each does, how long it may take, what force leaves.

    no new requests ─ stop the tool ─ end the session ─ save the files ─ unmount the volume

The files are saved when nothing writes any more. A forced end leaves that out: they stay on this
machine's volume, and the Studio's next session here saves them first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.stop_sequence import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.parts import Door
    from agent.session import Session
    from common.session_spec import SessionSettings

REFUSE_SECONDS_MAX = 5.0
STOP_MARGIN_SECONDS = 20.0
"""Above the grace that the tool gets: SIGKILL to everything, and seeing it gone."""
LEAVE_SECONDS_MAX = 15.0  # takes some milliseconds, or for ever: see SessionRoot.close
SAVE_SECONDS_MAX = 7 * 24 * 3600.0
"""A work directory that is away is waited for, and the step's message says why; a person who won't
wait forces the end. This is against stops that nobody remembers."""
DETACH_SECONDS_MAX = 60.0
"""Everything that is in the kernel's cache is written: gigabytes, on a slow disk."""


def steps(
    door: Door, session: Session, settings: Callable[[], SessionSettings]
) -> tuple[Step, ...]:
    """Return the steps in their order."""

    def grace_seconds() -> float:
        return settings().stop_grace_seconds

    async def refuse_requests() -> None:
        door.refuse_new()

    return (
        Step(
            name="no new requests",
            limit_seconds=lambda: REFUSE_SECONDS_MAX,
            act=refuse_requests,
            forced=refuse_requests,
        ),
        Step(
            name="stop the tool",
            limit_seconds=lambda: grace_seconds() + STOP_MARGIN_SECONDS,
            act=lambda: session.stop_tool(grace_seconds()),
            forced=session.kill_tool,
        ),
        Step(
            name="end the session",
            limit_seconds=lambda: LEAVE_SECONDS_MAX,
            act=session.leave,
            forced=session.leave,
        ),
        Step(
            name="save the files",
            limit_seconds=lambda: SAVE_SECONDS_MAX,
            act=session.save,
            says=session.saving_problem,
            when_superseded=False,
        ),
        Step(
            name="unmount the volume",
            limit_seconds=lambda: DETACH_SECONDS_MAX,
            act=session.detach,
            forced=session.detach,
        ),
    )
