"""The work directory that a command means, opened; and its failures as the command line's."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

import click

from checkpoints.format.damage import DamagedError
from checkpoints.format.parameters import UnknownFormatError
from checkpoints.reading.content import NoContentError
from checkpoints.reading.failures import RestoreError
from checkpoints.reading.selection import NoSuchError
from checkpoints.reading.verify import open_anyway
from checkpoints.repository import NoRepositoryError, Repository
from checkpoints.storage.environment import access_from
from checkpoints.storage.failures import (
    LocationError,
    NotPermittedError,
    StorageError,
    StorageMissingError,
    StorageUnfitError,
)
from checkpoints.storage.opening import REPOSITORY_FOLDER, open_storage, reliable
from checkpoints.storage.urls import Access, Folder, Location, parse_location
from checkpoints.tree.entry import RefusedError as BeyondLimitsError
from checkpoints.writing.commit import FencedError
from checkpoints.writing.reliance import ParentBusyError, ParentGoneError
from studios.commands.checkpoints.shown import shown_path
from studios.failures import CommandError, NotFoundError, RefusedError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from studios.surroundings import Surroundings

F = TypeVar("F", bound=Callable[..., Any])

checkpoint_argument = click.argument("checkpoint", metavar="CHECKPOINT")


@dataclass(frozen=True, slots=True)
class WorkDirectory:
    """Which one, as it was typed."""

    url: str
    access: Access

    def access_in(self, environ: Mapping[str, str], location: Location) -> Access:
        """Return what was typed, and of the rest what the environment has."""
        typed, found = self.access, access_from(environ, location)
        return Access(
            found.credentials,
            endpoint=typed.endpoint or found.endpoint,
            region=typed.region or found.region,
            account=typed.account or found.account,
        )

    def is_in(self, folder: Path) -> bool:
        """Say whether what it keeps lies in a folder, or is that."""
        kept = self._kept
        return kept is not None and kept.is_relative_to(folder.resolve())

    def has_checkpoints_around(self, folder: Path) -> bool:
        """Say whether a folder lies in what it keeps, or is that."""
        kept = self._kept
        return kept is not None and folder.resolve().is_relative_to(kept)

    @property
    def _kept(self) -> Path | None:
        try:
            location = parse_location(self.url)
        except LocationError:
            return None  # which whoever opens it says
        if not isinstance(location, Folder):
            return None
        return (location.path / REPOSITORY_FOLDER).resolve()


@overload
def work_directory_option(command: F, /) -> F: ...


@overload
def work_directory_option(*, required: bool) -> Callable[[F], F]: ...


def work_directory_option(
    command: F | None = None, /, *, required: bool = True
) -> F | Callable[[F], F]:
    """Add `work_directory`: an address, and what that doesn't say.

    Where it isn't required, it is None without an address.
    """
    if command is None:
        return lambda command: _with_work_directory(command, required=required)
    return _with_work_directory(command, required=required)


def _with_work_directory(command: F, *, required: bool) -> F:
    @wraps(command)
    def call(
        *args: Any, url: str | None, endpoint: str, region: str, account: str, **kwargs: Any
    ) -> Any:
        access = Access(endpoint=endpoint, region=region, account=account)
        where = None if url is None else WorkDirectory(url, access)
        return command(*args, work_directory=where, **kwargs)

    options = (
        click.option("--account", default="", metavar="NAME", help="Azure's storage account."),
        click.option("--region", default="", metavar="NAME", help="The bucket's region."),
        click.option(
            "--endpoint", default="", metavar="URL", help="Another server than the provider's own."
        ),
        click.option(
            "-w",
            "--work-dir",
            "url",
            required=required,
            metavar="URL",
            help="/path, s3://bucket/path, gs://bucket/path or az://container/path.",
        ),
    )
    found: Any = call
    for option in options:
        found = option(found)
    return cast("F", found)


def single_writer_option(command: F) -> F:
    """Add `single_writer`, to commands that may be the first to write."""
    return click.option(
        "--single-writer",
        is_flag=True,
        help="Also to a store that overwrites objects: only if nobody else ever writes there.",
    )(command)


@asynccontextmanager
async def opened(
    surroundings: Surroundings,
    work_directory: WorkDirectory,
    *,
    create: bool = False,
    single_writer: bool = False,
    anyway: bool = False,
    if_damaged: str = "",
) -> AsyncIterator[Repository]:
    """Yield the repository; whatever its packages raise inside is a CommandError outside.

    With `anyway`, one without a whole `format.json`, too. `if_damaged` is the next step there.
    """
    url = work_directory.url
    rng = random.Random()
    try:
        location = parse_location(url)
        access = work_directory.access_in(surroundings.settings.bucket_variables, location)
        bare = await open_storage(location, access)
        storage = reliable(bare, clock=surroundings.clock, rng=rng)
        if anyway:
            yield await open_anyway(storage, clock=surroundings.clock, rng=rng)
        else:
            yield await Repository.open(
                storage,
                create=create,
                single_writer=single_writer,
                clock=surroundings.clock,
                rng=rng,
            )
    except (NoRepositoryError, NoSuchError, NoContentError) as error:
        raise NotFoundError(str(error)) from error
    except StorageError as error:
        raise _of_storage(error) from error
    except LocationError as error:
        raise click.UsageError(str(error)) from error
    except DamagedError as error:
        raise CommandError(
            f"{str(error).rstrip('.')}. {if_damaged}"
            f"`studios checkpoints verify -w {url}` says what that costs."
        ) from error
    except (
        RestoreError,
        UnknownFormatError,
        BeyondLimitsError,
        FencedError,
        ParentBusyError,
        ParentGoneError,
    ) as error:
        raise CommandError(str(error)) from error
    except BrokenPipeError:
        raise  # whoever read what is printed has seen enough
    except OSError as error:
        where = error.filename
        name = shown_path(os.fsencode(where)) if isinstance(where, (str, bytes)) else url
        raise CommandError(f"{name}: {error.strerror or error}.") from error


def _of_storage(error: StorageError) -> CommandError:
    match error:
        case StorageMissingError():
            return NotFoundError(str(error))
        case NotPermittedError():
            return RefusedError(str(error))
        case StorageUnfitError() if "single writer" in str(error):
            return CommandError(f"{error} The option for that is `--single-writer`.")
        case _:
            return (UnreachableError if error.retry_helps else CommandError)(str(error))
