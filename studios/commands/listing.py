"""`list`, `view` and `templates`: what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from studios import saved
from studios.commands.options import awaited, studio_argument
from studios.names import short_name
from studios.output import (
    format_option,
    print_json,
    print_sheet,
    print_table,
    show_status,
    show_time,
)
from studios.shapes import StudioPage, Templates
from studios.surroundings import Surroundings, pass_surroundings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from studios.shapes import Studio, Volume


@click.command("list")
@click.option("--search", default="", metavar="TEXT", help="Only Studios that match.")
@format_option
@pass_surroundings
@awaited
async def list_studios(surroundings: Surroundings, search: str, output: str) -> None:
    """List all Studios."""
    async with surroundings.client() as client:
        studios = await client.studios(search)
    if output == "json":
        page = StudioPage(studios=tuple(studios), total_size=len(studios))
        print_json(surroundings.out, page)
        return
    if not studios:
        surroundings.say(
            "No Studio matches."
            if search
            else "There are no Studios yet: make one with `studios add NAME --template jupyterlab`."
        )
        return
    print_table(
        surroundings.out,
        ("ID", "NAME", "STATUS", "TOOL", "OWNER", "URL"),
        (
            (
                studio.session_id,
                studio.name,
                show_status(studio.status),
                studio.template.tool if studio.template else "",
                studio.user.user_name,
                studio.studio_url,
            )
            for studio in studios
        ),
    )


@click.command()
@studio_argument
@format_option
@pass_surroundings
@awaited
async def view(surroundings: Surroundings, name: str, output: str) -> None:
    """Show one Studio with its progress and settings."""
    async with surroundings.client() as client:
        studio = await client.find(name)
    if output == "json":
        print_json(surroundings.out, studio)
    else:
        print_sheet(surroundings.out, _facts(studio, surroundings.clock.now()))


@click.command()
@format_option
@pass_surroundings
@awaited
async def templates(surroundings: Surroundings, output: str) -> None:
    """List the tools that a new Studio can have."""
    async with surroundings.client() as client:
        found = await client.templates()
    if output == "json":
        print_json(surroundings.out, Templates(templates=found, total_size=len(found)))
        return
    print_table(
        surroundings.out,
        ("TEMPLATE", "TOOL", "STATUS", "IMAGE"),
        ((short_name(t), t.tool, t.status, t.repository) for t in found),
    )


def _facts(studio: Studio, now: datetime) -> Iterator[tuple[str, str]]:
    info = studio.status_info
    yield "Name", studio.name
    yield "Id", studio.session_id
    yield "Status", show_status(info.status)
    yield "Message", info.message
    yield "Stop reason", info.stop_reason or ""
    yield "URL", studio.studio_url
    yield "Description", studio.description
    yield "Owner", studio.user.user_name
    yield "Tool", studio.template.tool if studio.template else ""
    yield "Image", studio.template.repository if studio.template else ""
    yield "Runs in", studio.compute_env.name if studio.compute_env else ""
    yield "Private", "yes" if studio.is_private else ""
    yield "Lifespan", _lifespan(studio.effective_lifespan_hours)
    yield from _configuration(studio)
    for connection in studio.active_connections:
        yield "Connected", connection.user_name
    for step in studio.progress:
        yield "Progress", f"{step.status}: {step.message}"
    yield "Saved", saved.in_short(studio, now)
    for warning in _warnings(studio, now):
        yield "Warning", warning
    if studio.health is not None:
        yield "Health" if studio.health.ok else "Unhealthy", studio.health.message
    if studio.resources is not None:
        yield "CPU use", f"{studio.resources.cpu_percent:.0f} %"
        yield "Memory use", f"{studio.resources.memory_bytes / 1024**2:.0f} MiB"
    if studio.volume is not None:
        yield "Volume", _volume(studio.volume)
    yield "Until", show_time(studio.deadline)
    yield "Created", show_time(studio.date_created)
    yield "Last started", show_time(studio.last_started)


def _warnings(studio: Studio, now: datetime) -> Iterable[str]:
    """Return each warning once: a step on the way carries the session's, too."""
    found = [warning for step in studio.progress for warning in step.warnings]
    found += studio.warnings
    if studio.volume is not None and studio.volume.message:
        said = studio.volume.message
        found.append(f"{said[0].upper()}{said[1:]}.")
    if late := saved.lateness(studio, now):
        found.append(late)
    return dict.fromkeys(found)


def _volume(volume: Volume) -> str:
    used = f"{_gigabytes(volume.size_bytes - volume.free_bytes)} of {_gigabytes(volume.size_bytes)}"
    if volume.full:
        return f"{used} used: full"
    if volume.size_bytes < volume.limit_bytes:
        return f"{used} used, grows to {_gigabytes(volume.limit_bytes)}"
    return f"{used} used"


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1024**3:.1f}".removesuffix(".0") + " GB"


def _configuration(studio: Studio) -> Iterator[tuple[str, str]]:
    configuration = studio.configuration
    yield "CPUs", str(configuration.cpu or "")
    yield "GPUs", str(configuration.gpu or "")
    yield "Memory", f"{configuration.memory} MiB" if configuration.memory else ""
    yield "Environment", " ".join(sorted(configuration.environment))


def _lifespan(hours: int | None) -> str:
    if hours is None:
        return ""
    return f"{hours} h" if hours else "keep running"
