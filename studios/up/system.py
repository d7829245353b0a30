"""The course of a `studios up`, from the first program to the last session.

**Start here.** Control plane, then edge, then the demo if asked for, then the status line until
somebody wants something: Ctrl-C stops the sessions and ends; a second one, or SIGTERM, ends and
leaves them running. Agents are processes of their own, so ending never hurts a session, and a
`studios up` on the same folder finds them again. A program that dies ends everything, with its
error.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from common.loopback import is_localhost
from studios import client
from studios.credentials import Credentials, load_local
from studios.failures import INTERRUPTED_EXIT_CODE, CommandError, StorageFullError
from studios.phases import Ended
from studios.up.demo import run_demo
from studios.up.folder import write_access
from studios.up.signals import Wishes, heard, unless
from studios.up.status_line import keep_shown
from studios.up.stopping import stop_sessions
from studios.up.welcome import ssh_line, welcome
from studios.waiting import print_ended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from studios.client import Client
    from studios.shapes import Studio
    from studios.surroundings import Surroundings
    from studios.up.plan import Plan
    from studios.up.programs import IssueKeys, Keys, Programs


async def serve(plan: Plan, surroundings: Surroundings, programs: Programs, wishes: Wishes) -> int:
    """Run the whole system until it is wished to end; returns the exit code."""
    with heard(wishes):
        async with _running(plan, surroundings, programs) as keys:
            write_access(plan.data_dir, url=plan.url, admin_token=keys.admin_token)
            credentials = Credentials(url=plan.url, token=keys.admin_token)
            async with client.connect(credentials, unix_socket=plan.socket) as api:
                await _attend(plan, surroundings, api, credentials, wishes)
                return await _end(plan, surroundings, api, keys, wishes)


@asynccontextmanager
async def _running(
    plan: Plan, surroundings: Surroundings, programs: Programs
) -> AsyncIterator[Keys]:
    """Yield once both programs serve; the edge ends first, so that nobody is let in any more."""
    clock = surroundings.clock
    issue: asyncio.Future[IssueKeys] = asyncio.get_running_loop().create_future()
    open_door = asyncio.Event()
    began = clock.monotonic()
    async with asyncio.TaskGroup() as tasks:
        plane = tasks.create_task(
            programs.control_plane(plan, clock, issue.set_result), name="up/control-plane"
        )
        known = load_local(plan.data_dir)
        found = await (await issue)(known.token if known else None)
        print_ended(surroundings.err, Ended("Control plane", clock.monotonic() - began, True))
        began = clock.monotonic()
        door = tasks.create_task(
            programs.edge(plan, clock, found.edge_token, open_door.set), name="up/edge"
        )
        await open_door.wait()
        print_ended(surroundings.err, Ended(f"Edge at {plan.url}", clock.monotonic() - began, True))
        try:
            yield found
        finally:
            for program in (door, plane):
                program.cancel()
                await asyncio.wait((program,))


async def _attend(
    plan: Plan, surroundings: Surroundings, api: Client, credentials: Credentials, wishes: Wishes
) -> None:
    """Do what is to do while both programs serve, until an end is wished for."""
    await unless(wishes.end, _welcome(plan, surroundings, api, credentials))
    await unless(wishes.end, keep_shown(api, surroundings.err, surroundings.clock))


async def _end(
    plan: Plan, surroundings: Surroundings, api: Client, keys: Keys, wishes: Wishes
) -> int:
    """Leave the sessions, or stop them first; returns the exit code."""
    if wishes.leave.is_set():
        surroundings.say(
            f"Sessions go on running; `studios up` on {plan.data_dir} finds them again."
        )
        return 0
    stopping = stop_sessions(api, keys.end_unrecorded, surroundings.err, surroundings.clock)
    done = await unless(wishes.leave, stopping)
    if wishes.interrupted_twice:
        surroundings.say(
            "Left at once: sessions that run go on; "
            f"`studios up` on {plan.data_dir} finds them again."
        )
        return INTERRUPTED_EXIT_CODE
    return 1 if done is False else 0


async def _welcome(
    plan: Plan, surroundings: Surroundings, api: Client, credentials: Credentials
) -> None:
    async def answers(studio: Studio) -> bool:
        if not is_localhost(plan.domain):
            return True  # the name may lead to another machine: only browsers can tell
        async with client.connect(credentials) as through_edge:
            return await through_edge.answers(studio)

    session_url = ""
    if plan.demo:
        try:
            demo = await run_demo(api, surroundings.err, surroundings.clock, answers=answers)
            session_url = demo.studio_url
        except CommandError as error:
            # The page is there to look into it; ending now would only hide why.
            surroundings.say(f"Error: the demo is not running. {error.message}")
    settings = surroundings.settings
    try:
        login_link = await api.login_link((await api.me()).id)
    except StorageFullError as error:
        surroundings.say(f"Error: there is no link to log in with. {error.message}")
        return
    lines = welcome(
        plan,
        login_link=login_link,
        session_url=session_url,
        ssh=ssh_line(settings.ssh_connection, user=settings.user, port=plan.port),
    )
    for line in map(surroundings.as_typed, lines):
        surroundings.out.print(line, soft_wrap=True)
