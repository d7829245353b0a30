"""Stops every session properly, all at the same time, and says how each ended.

The control plane is asked, which writes down what it does. Where it can't, because its disk is
full, the engine ends the sessions all the same; their status is put right at the next start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from studios.failures import CommandError, StorageFullError
from studios.output import show_status
from studios.waiting import POLL_SECONDS

if TYPE_CHECKING:
    from rich.console import Console

    from common.clock import Clock
    from studios.client import Client
    from studios.shapes import Studio
    from studios.up.programs import EndUnrecorded

STOP_SECONDS_MAX = 180.0  # the tool has 30 s to end; the rest is for work still being saved
_ACTIVE = ("building", "starting", "running")
_OVER = ("stopped", "errored", "buildFailed")


async def stop_sessions(
    client: Client, end_unrecorded: EndUnrecorded, console: Console, clock: Clock
) -> bool:
    """Return whether every session is stopped; what isn't in time is named and left running."""
    began = clock.monotonic()
    waiting, unrecorded = await _ask_all(client, console)
    if waiting:
        names = ", ".join(studio.name for studio in waiting.values())
        console.print(f"Stopping {names}; Ctrl-C again leaves sessions running", soft_wrap=True)
    while waiting:
        late = clock.monotonic() - began > STOP_SECONDS_MAX
        statuses = {studio.session_id: studio.status for studio in await client.studios()}
        for session_id, studio in list(waiting.items()):
            status = statuses.get(session_id, "deleted")
            if status in (*_OVER, "deleted"):
                how = show_status(status)
            # A disk that filled up meanwhile keeps an end from being recorded, too.
            elif (late or session_id in unrecorded) and await end_unrecorded(session_id):
                how = f"has ended, but is still recorded as {show_status(status)}"
            else:
                continue
            del waiting[session_id]
            console.print(f"✓ {studio.name} {how}  {clock.monotonic() - began:.1f} s")
        if waiting and late:
            names = ", ".join(studio.name for studio in waiting.values())
            console.print(f"✗ still running after {STOP_SECONDS_MAX:.0f} s: {names}")
            return False
        if waiting:
            await clock.sleep(POLL_SECONDS)
    return True


async def _ask_all(client: Client, console: Console) -> tuple[dict[str, Studio], set[str]]:
    """Return what is to be waited for, and which of it was told only to the engine."""
    waiting: dict[str, Studio] = {}
    unrecorded: set[str] = set()
    for studio in await client.studios():
        if studio.status in _ACTIVE and not await _ask(client, console, studio):
            unrecorded.add(studio.session_id)
        if studio.status not in _OVER:
            waiting[studio.session_id] = studio
    return waiting, unrecorded


async def _ask(client: Client, console: Console, studio: Studio) -> bool:
    """Return False if it could not even be recorded that it is to stop."""
    try:
        await client.stop(studio.session_id)
    except StorageFullError as error:
        console.print(f"! {studio.name}: {error.message}", soft_wrap=True)
        return False
    except CommandError as error:
        # It may have ended by itself since we looked; the loop above sees how it stands.
        console.print(f"! {studio.name}: {error.message}", soft_wrap=True)
    return True
