"""`add`: a new Studio."""

from __future__ import annotations

import re

import click

from studios.commands.lifecycle import show_result
from studios.commands.options import STATUSES, awaited, wait_if_asked, wait_options
from studios.names import select_compute_env, select_template
from studios.output import format_option
from studios.shapes import NewConfiguration, NewStudio
from studios.surroundings import Surroundings, pass_surroundings

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
LIFESPAN_HOURS_MAX = 120  # the API's own limit
_ONLY_ONCE_STARTED = ("starting", "running", "stopping", "errored")


@click.command()
@click.argument("name")
@click.option("--template", required=True, help="Its tool; see `studios templates`.")
@click.option("--compute-env", help="Where it runs; needed if there are several.")
@click.option("--description", default="", help="What it is for.")
@click.option("--cpu", type=click.IntRange(min=1), help="CPUs to ask for.")
@click.option("--gpu", type=click.IntRange(min=0), help="GPUs to ask for.")
@click.option("--memory", type=click.IntRange(min=1), metavar="MIB", help="Memory to ask for.")
@click.option(
    "--lifespan",
    type=click.IntRange(min=0, max=LIFESPAN_HOURS_MAX),
    metavar="HOURS",
    help=f"Stop by itself after this time, at most {LIFESPAN_HOURS_MAX}; 0 keeps it running.",
)
@click.option(
    "--env",
    "environment",
    multiple=True,
    metavar="NAME=VALUE",
    help="An environment variable of the session; may be repeated.",
)
@click.option("--private", is_flag=True, help="Only you may connect.")
@click.option("--auto-start", is_flag=True, help="Start it at once.")
@wait_options(*STATUSES)
@format_option
@pass_surroundings
@awaited
async def add(
    surroundings: Surroundings,
    *,
    name: str,
    template: str,
    compute_env: str | None,
    description: str,
    cpu: int | None,
    gpu: int | None,
    memory: int | None,
    lifespan: int | None,
    environment: tuple[str, ...],
    private: bool,
    auto_start: bool,
    wait: str | None,
    timeout_seconds: float,
    output: str,
) -> None:
    """Add a Studio; with --auto-start, or to --wait until it is running, it starts at once."""
    configuration = NewConfiguration(
        cpu=cpu,
        gpu=gpu,
        memory=memory,
        lifespan_hours=lifespan,
        environment=_parse_environment(environment),
    )
    async with surroundings.client() as client:
        new = NewStudio(
            name=name,
            compute_env_id=select_compute_env(compute_env, await client.compute_envs()).id,
            data_studio_tool_url=select_template(template, await client.templates()).repository,
            description=description,
            configuration=configuration,
            is_private=private,
        )
        studio = await client.create(new, auto_start=auto_start or wait in _ONLY_ONCE_STARTED)
        studio = await wait_if_asked(surroundings, client, studio, wait, timeout_seconds)
    show_result(surroundings, studio, output)


def _parse_environment(assignments: tuple[str, ...]) -> dict[str, str]:
    environment = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not _ENVIRONMENT_NAME.fullmatch(name):
            raise click.UsageError(f"--env {assignment!r} is not NAME=VALUE.")
        environment[name] = value
    return environment
