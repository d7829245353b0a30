"""`up`: its options, the checks before anything is changed, and the process around the system."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar, cast
from urllib.parse import urlsplit

import click
import uvloop

from common import log
from control_plane.config import InvalidConfigError, bucket_access, session_settings, volume_limits
from control_plane.engines.host_folders import problem_of_carried, work_folder
from studios.config import DATA_DIR
from studios.failures import CommandError
from studios.surroundings import Surroundings, pass_surroundings
from studios.up import checks, folder, system
from studios.up.plan import DOMAIN, PORT, WORK_FOLDER, Plan
from studios.up.rotating_log import RotatingLog
from studios.up.signals import Wishes

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

_WORK_DIR_SCHEMES = ("file", "s3", "gs", "az")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.ASCII)
_PORT_MAX = 65535
_PRIVATE_UMASK = 0o077  # database, tokens and logs; agents give tools the usual one


@click.command()
@click.option(
    "--data-dir",
    default=None,
    metavar="FOLDER",
    help=f"Where everything is kept.  [default: STUDIOS_DATA_DIR, else {DATA_DIR}]",
)
@click.option(
    "--port",
    type=click.IntRange(1, _PORT_MAX),
    default=PORT,
    show_default=True,
    help="The only port that is opened.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--domain",
    default=DOMAIN,
    show_default=True,
    help="Name of the page; sessions are a<id> below it.",
)
@click.option(
    "--work-dir", default="", metavar="URL", help="Work directory.  [default: DATA_DIR/work]"
)
@click.option(
    "--carry",
    "carried",
    multiple=True,
    metavar="FOLDER",
    help="Folder of this machine that every session sees, and may write to.  [repeatable]",
)
@click.option("--demo", is_flag=True, help="Have a running JupyterLab Studio `demo`.")
@pass_surroundings
def up(
    surroundings: Surroundings,
    *,
    data_dir: str | None,
    port: int,
    host: str,
    domain: str,
    work_dir: str,
    carried: tuple[str, ...],
    demo: bool,
) -> None:
    """Run everything on this machine: control plane and edge, in one process.

    Sessions see this machine's programs, and none of its homes, keys and mounts. Sizes of their
    volumes are STUDIO_VOLUME_INITIAL (2 GB), _FREE (1 GB), _STEP (2 GB) and _LIMIT (30 GB). What is
    in them is saved every STUDIO_CHECKPOINT_INTERVAL (5 min).

    Stays in the foreground. Ctrl-C stops the sessions, then exits; a second Ctrl-C, like SIGTERM,
    leaves them running for the next `studios up` on the same folder to find.
    """
    folder_asked_for = _parse_data_dir(data_dir, surroundings.settings.data_dir)
    work_url = (
        _parse_work_dir(work_dir)
        if work_dir
        else (folder_asked_for.absolute() / WORK_FOLDER).as_uri()
    )
    plan = Plan(
        data_dir=folder_asked_for.absolute(),
        host=host,
        port=port,
        domain=_parse_domain(domain),
        work_dir=work_url,
        demo=demo,
        carried=_parse_carried(carried, folder_asked_for.absolute(), work_url),
        volume=_read(volume_limits),
        session=_read(session_settings),
        access=_read(lambda: bucket_access(work_url)),
    )
    folder.check_not_locked(plan.data_dir)
    for sentence in checks.check_all(plan):
        surroundings.say(sentence)
    surroundings = replace(
        surroundings, settings=replace(surroundings.settings, data_dir=plan.data_dir)
    )
    if not folder_asked_for.is_absolute():
        surroundings.say(f"Everything is kept in {plan.data_dir}.")
    os.umask(_PRIVATE_UMASK)
    with folder.locked(plan.data_dir):
        work = work_folder(plan.work_dir)
        if work is not None:
            folder.make_work_folder(work, is_ours=not work_dir)
        raise click.exceptions.Exit(_run(plan, surroundings))


def _run(plan: Plan, surroundings: Surroundings) -> int:
    # Both programs take half a second to import, and no other command needs them.
    from studios.up.own_programs import OwnPrograms  # noqa: PLC0415

    with RotatingLog(plan.log) as stream:
        log.configure(program="studios-up", stream=cast("TextIO", stream))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                return runner.run(system.serve(plan, surroundings, OwnPrograms(), Wishes()))
            except BaseExceptionGroup as group:
                raise _sentence(group) or group from None


def _sentence(error: BaseException) -> CommandError | None:
    """Return the failure that a person can do something about, if there is one inside."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_sentence, error.exceptions)), None)
    return error if isinstance(error, CommandError) else None


def _parse_data_dir(text: str | None, default: Path) -> Path:
    if text is None:
        return default
    if not text.strip():
        # A variable that was never set; the current folder, often a checkout, is not meant.
        raise click.UsageError("--data-dir is empty: name the folder to keep everything in.")
    return Path(text)


def _parse_domain(text: str) -> str:
    name = text.lower().rstrip(".")
    if not _DOMAIN.fullmatch(name):
        raise click.UsageError(f"--domain {text!r} is not a domain name.")
    return name


def _parse_work_dir(text: str) -> str:
    if text.startswith("/"):
        return Path(text).as_uri()
    if urlsplit(text).scheme not in _WORK_DIR_SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in _WORK_DIR_SCHEMES)
        raise click.UsageError(f"--work-dir {text!r} is neither a folder nor one of {known}.")
    return text


def _parse_carried(paths: tuple[str, ...], data_dir: Path, work_url: str) -> tuple[Path, ...]:
    work = work_folder(work_url)
    kept = (data_dir,) if work is None else (data_dir, work)
    for path in paths:
        if problem := problem_of_carried(path, kept):
            raise click.UsageError(f"--carry: {problem}")
    return tuple(map(Path, paths))


def _read(settings: Callable[[], _T]) -> _T:
    try:
        return settings()
    except InvalidConfigError as error:
        raise CommandError(str(error)) from None
