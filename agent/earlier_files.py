"""Brings the files that a Studio had before sessions had volumes into its volume.

Version 0.1 ran tools on the host itself, in a folder that was home and working directory in one.
Only a copy that is complete and durable is kept for good, by renaming the folder: a run that ends
before makes it again. The folder stays, under its new name, until the Studio is deleted.

The copying program ends with its agent, also when that is killed: it would keep the volume mounted.
"""

from __future__ import annotations

import asyncio
import os
import subprocess  # noqa: TID251 - see agent.root.launching
import tempfile
from typing import TYPE_CHECKING

import structlog

from agent.volume import syscalls

if TYPE_CHECKING:
    from pathlib import Path

KEPT_SUFFIX = ".before-volumes"
_COMPLAINT_BYTES_MAX = 500

_log = structlog.get_logger()


class CannotImportError(Exception):
    """The files could not be copied; nothing is lost. The text is a sentence."""


async def bring_in(earlier: Path, workspace: Path) -> None:
    """Copy all of the folder `earlier` into `workspace`, with all attributes.

    Cancelled, it waits for the copying program to be gone. Raise CannotImportError.
    """
    _log.info("earlier_files_found", folder=str(earlier))
    with tempfile.TemporaryFile() as complaints:
        process = await asyncio.to_thread(_start, earlier, workspace, complaints.fileno())
        try:
            code = await asyncio.to_thread(process.wait)
        finally:
            process.kill()
            process.wait()
        complaints.seek(0)
        lines = complaints.read(_COMPLAINT_BYTES_MAX).decode(errors="replace").splitlines()
    if code != 0:
        raise CannotImportError(
            f"the files that this Studio had in {earlier} can't be copied into its volume: "
            f"{lines[0] if lines else f'exit code {code}'}"
        )
    await asyncio.to_thread(_keep, earlier, workspace)


def _start(earlier: Path, workspace: Path, complaints_fd: int) -> subprocess.Popen[bytes]:
    workspace.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [
            *("setpriv", "--pdeathsig", "KILL", "--"),
            *("cp", "--archive", "--", f"{earlier}/.", str(workspace)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=complaints_fd,
    )


def _keep(earlier: Path, workspace: Path) -> None:
    fd = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syscalls.syncfs(fd)
    finally:
        os.close(fd)
    os.rename(earlier, _free_name(earlier.with_name(earlier.name + KEPT_SUFFIX)))


def _free_name(wanted: Path) -> Path:
    """Return it, or it with a number: an older version may have worked here again in between."""
    name, number = wanted, 0
    while os.path.lexists(name):
        number += 1
        name = wanted.with_name(f"{wanted.name}-{number}")
    return name
