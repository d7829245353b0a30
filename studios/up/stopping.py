"""Stops every session properly, all at the same time, and says how each ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studios.failures import CommandError
from studios.output import show_status
from studios.waiting import POLL_SECONDS

if TYPE_CHECKING:
    from rich.console import Console

    from common.clock import Clock
    from studios.client import Client
    from studios.shapes import Studio

STOP_SECONDS_MAX = 180.0  # the tool has 30 s to end; the rest is for work still being saved
_ACTIVE = ("building", "starting", "running")
_OVER = ("stopped", "errored", "buildFailed")


async def stop_sessions(client: Client, console: Console, clock: Clock) -> bool:
    """Return whether every session is stopped; what isn't in time is named and left running."""
    began = clock.monotonic()
    waiting: dict[str, Studio] = {}
    for studio in await client.studios():
        if studio.status in _ACTIVE:
            await _ask(client, console, studio)
        if studio.status not in _OVER:
            waiting[studio.session_id] = studio
    if waiting:
        names = ", ".join(studio.name for studio in waiting.values())
        console.print(f"Stopping {names}; Ctrl-C again leaves sessions running", soft_wrap=True)
    while waiting:
        statuses = {studio.session_id: studio.status for studio in await client.studios()}
        for session_id, studio in list(waiting.items()):
            status = statuses.get(session_id, "deleted")
            if status in (*_OVER, "deleted"):
                del waiting[session_id]
                seconds = clock.monotonic() - began
                console.print(f"✓ {studio.name} {show_status(status)}  {seconds:.1f} s")
        if clock.monotonic() - began > STOP_SECONDS_MAX:
            names = ", ".join(studio.name for studio in waiting.values())
            console.print(f"✗ still running after {STOP_SECONDS_MAX:.0f} s: {names}")
            return False
        if waiting:
            await clock.sleep(POLL_SECONDS)
    return True


async def _ask(client: Client, console: Console, studio: Studio) -> None:
    try:
        await client.stop(studio.session_id)
    except CommandError as error:
        # It may have ended by itself since we looked; the loop above sees how it stands.
        console.print(f"! {studio.name}: {error.message}", soft_wrap=True)
