"""The Studio of `--demo`: found or made, and running."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studios.failures import CommandError
from studios.names import select_compute_env, select_template
from studios.shapes import NewStudio
from studios.waiting import POLL_SECONDS, phase_view, wait_for_status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rich.console import Console

    from common.clock import Clock
    from studios.client import Client
    from studios.shapes import Studio

NAME = "demo"
TEMPLATE = "jupyterlab"
FIND_SECONDS_MAX = 180.0  # a silent session is given up after 90 s, and looked into after that
_RESTING = ("stopped", "errored")


async def run_demo(
    client: Client,
    console: Console,
    clock: Clock,
    *,
    answers: Callable[[Studio], Awaitable[bool]],
) -> Studio:
    """Return the demo once it is running; its phases are shown with their times."""

    async def wait(studio: Studio, wanted: str) -> Studio:
        return await wait_for_status(
            lambda: client.studio(studio.session_id),
            wanted,
            clock=clock,
            view=phase_view(console),
        )

    known = [studio for studio in await client.studios(NAME) if studio.name == NAME]
    if not known:
        console.print(f"Adding the {TEMPLATE} Studio {NAME!r}")
        return await wait(await _create(client), "running")
    demo = known[0]
    if demo.status == "running":
        console.print(f"Looking for the session of {NAME!r}")
        demo = await _find_again(client, demo, clock, answers)
    if demo.status == "running":
        console.print(f"The Studio {NAME!r} is still running")
        return demo
    if demo.status == "stopping":
        demo = await wait(demo, "stopped")
    if demo.status in _RESTING:
        demo = await client.start(demo.session_id)
    console.print(f"Starting the Studio {NAME!r}")
    return await wait(demo, "running")


async def _find_again(
    client: Client,
    demo: Studio,
    clock: Clock,
    answers: Callable[[Studio], Awaitable[bool]],
) -> Studio:
    """Return the demo once its session answered, or is known to be gone.

    `running` is what was last heard: after a reboot it stands there until the control plane has
    missed reports for long enough to ask the engine.
    """
    began = clock.monotonic()
    while demo.status == "running" and not await answers(demo):
        if clock.monotonic() - began > FIND_SECONDS_MAX:
            raise CommandError(
                f"It is called running, but does not answer: look with `studios logs {NAME}`."
            )
        await clock.sleep(POLL_SECONDS)
        demo = await client.studio(demo.session_id)
    return demo


async def _create(client: Client) -> Studio:
    new = NewStudio(
        name=NAME,
        compute_env_id=select_compute_env(None, await client.compute_envs()).id,
        data_studio_tool_url=select_template(TEMPLATE, await client.templates()).repository,
    )
    return await client.create(new, auto_start=True)
