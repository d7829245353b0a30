"""The Studio of `--demo`: found or made, and running."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studios.names import select_compute_env, select_template
from studios.shapes import NewStudio
from studios.waiting import phase_view, wait_for_status

if TYPE_CHECKING:
    from rich.console import Console

    from common.clock import Clock
    from studios.client import Client
    from studios.shapes import Studio

NAME = "demo"
TEMPLATE = "jupyterlab"
_RESTING = ("stopped", "errored")


async def run_demo(client: Client, console: Console, clock: Clock) -> Studio:
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
    if demo.status == "stopping":
        demo = await wait(demo, "stopped")
    if demo.status in _RESTING:
        demo = await client.start(demo.session_id)
    if demo.status == "running":
        console.print(f"The Studio {NAME!r} is still running")
        return demo
    console.print(f"Starting the Studio {NAME!r}")
    return await wait(demo, "running")


async def _create(client: Client) -> Studio:
    new = NewStudio(
        name=NAME,
        compute_env_id=select_compute_env(None, await client.compute_envs()).id,
        data_studio_tool_url=select_template(TEMPLATE, await client.templates()).repository,
    )
    return await client.create(new, auto_start=True)
