"""`login`: remember an address and its token, or make a one-time link for a browser."""

from __future__ import annotations

import click

from common.secret import Secret
from studios import client, credentials
from studios.commands.options import awaited
from studios.credentials import Credentials
from studios.names import select_user
from studios.output import format_option, print_json
from studios.shapes_of_people import LoginLink
from studios.surroundings import Surroundings, pass_surroundings


@click.command()
@click.argument("target", metavar="[URL|NAME]", required=False)
@click.option("--token", help="The access token; asked for when not given.")
@click.option("--link", is_flag=True, help="Print a one-time login link for a browser instead.")
@format_option
@pass_surroundings
@awaited
async def login(
    surroundings: Surroundings, target: str | None, *, token: str | None, link: bool, output: str
) -> None:
    """Log in to the control plane at URL; --link [NAME] prints a link that logs a browser in once.

    The token is checked, then kept in ~/.config/studios/credentials, readable by you only.
    """
    if link:
        if token is not None:
            raise click.UsageError("--token has no meaning with --link.")
        await _print_link(surroundings, target, output)
    else:
        await _remember(surroundings, target, token)


async def _print_link(surroundings: Surroundings, user_name: str | None, output: str) -> None:
    async with surroundings.client() as api:
        user = select_user(user_name, await api.users()) if user_name else await api.me()
        link = await api.login_link(user.id)
    if output == "json":
        print_json(surroundings.out, LoginLink(login_url=link))
    else:
        surroundings.out.print(link, soft_wrap=True)


async def _remember(surroundings: Surroundings, url: str | None, token: str | None) -> None:
    address = (url or surroundings.settings.url).rstrip("/")
    if not credentials.is_address(address):
        raise click.UsageError(
            "Say where to log in, for example `studios login http://studio.localhost:9191`."
        )
    secret = token or click.prompt(f"Access token for {address}", hide_input=True, err=True)
    found = Credentials(url=address, token=Secret(secret.strip()))
    async with client.connect(found) as api:
        person = await api.me()
    path = surroundings.settings.credentials_path
    credentials.save(path, found)
    surroundings.say(f"Logged in to {address} as {person.user_name}; {path} remembers it.")
