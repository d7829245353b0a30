"""`users`: who may log in, and as what."""

from __future__ import annotations

import click
import msgspec

from studios.commands.options import awaited
from studios.names import select_user
from studios.output import format_option, print_json, print_table
from studios.shapes_of_people import Users
from studios.surroundings import Surroundings, pass_surroundings

ROLES = ("owner", "admin", "maintain", "launch", "connect", "view")

_role_option = click.option(
    "--role",
    required=True,
    type=click.Choice(ROLES),
    help="What they may do; each role includes those after it.",
)
_user_argument = click.argument("name", metavar="USER")


@click.group()
def users() -> None:
    """Who may log in, and as what."""


@users.command("list")
@format_option
@pass_surroundings
@awaited
async def list_users(surroundings: Surroundings, output: str) -> None:
    """List everybody who may log in."""
    async with surroundings.client() as client:
        found = await client.users()
    if output == "json":
        print_json(surroundings.out, Users(users=found, total_size=len(found)))
        return
    rows = ((str(user.id), user.user_name, user.role) for user in found)
    print_table(surroundings.out, ("ID", "NAME", "ROLE"), rows)


@users.command("add")
@_user_argument
@_role_option
@format_option
@pass_surroundings
@awaited
async def add_user(surroundings: Surroundings, name: str, role: str, output: str) -> None:
    """Add a user, and print a link that logs their browser in once."""
    async with surroundings.client() as client:
        added = await client.add_user(name, role)
    if output == "json":
        print_json(surroundings.out, added)
        return
    surroundings.say(f"{name} has the role {role}. Give them this link; it works once:")
    surroundings.out.print(added.login_url, soft_wrap=True)


@users.command("role")
@_user_argument
@_role_option
@format_option
@pass_surroundings
@awaited
async def set_role(surroundings: Surroundings, name: str, role: str, output: str) -> None:
    """Give a user another role."""
    async with surroundings.client() as client:
        user = select_user(name, await client.users())
        await client.set_role(user.id, role)
    if output == "json":
        print_json(surroundings.out, msgspec.structs.replace(user, role=role))
    else:
        surroundings.say(f"{user.user_name} has the role {role}.")


@users.command("remove")
@_user_argument
@pass_surroundings
@awaited
async def remove_user(surroundings: Surroundings, name: str) -> None:
    """Remove a user; they are logged out at once, their Studios stay."""
    async with surroundings.client() as client:
        user = select_user(name, await client.users())
        await client.remove_user(user.id)
    surroundings.say(f"{user.user_name} is removed.")
