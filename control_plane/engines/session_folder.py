"""What a session keeps on this host, deleted: its logs, and its volume with everything in it.

Whatever is in the folder was in the hands of a session's programs once: a link, a mount, a name of
255 bytes. Links are not followed. Nothing is deleted while something is mounted below the folder:
what is mounted there could be anybody's bucket. Nor while the volume is attached to a loop device:
its space would be taken, and no name would say by whom.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

_OCTAL = re.compile(rb"\\([0-7]{3})")
_DELETED = " (deleted)"
_MOUNT_POINT = 4  # the fifth field, see proc_pid_mountinfo(5)


class CannotDeleteError(Exception):
    """It can't be deleted now. The text is a sentence."""


async def delete(folder: Path) -> None:
    """Delete it and everything in it. Does nothing if there is none.

    Raises CannotDeleteError; if something is in use, then nothing has been deleted.
    """
    try:
        await asyncio.to_thread(_check_unused, folder)
    except OSError as error:
        raise CannotDeleteError(f"The session's folder can't be looked at: {error}.") from None
    # rm and not shutil.rmtree, which takes a stack frame and a descriptor for each level: a session
    # of earlier versions could have made more levels than there are of these
    process = await asyncio.create_subprocess_exec(
        *("/bin/rm", "--recursive", "--force", "--one-file-system", "--", str(folder)),
        env={"LC_ALL": "C"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        lines = said.decode(errors="replace").splitlines() or ["rm said nothing"]
        raise CannotDeleteError(f"The session's folder can't be deleted: {lines[0]}.")


def _check_unused(folder: Path) -> None:
    real = os.path.realpath(folder)
    if mounted := mounts_below(real, Path("/proc/self/mountinfo").read_bytes()):
        raise CannotDeleteError(f"{mounted[0]} is mounted: unmount it, then the folder goes.")
    if attached := attached_below(real):
        path, device = attached
        raise CannotDeleteError(f"{path} is still attached to /dev/{device}.")


def mounts_below(folder: str, mountinfo: bytes) -> list[str]:
    """Return the mount points at or below `folder`, which is without links."""
    own = os.fsencode(folder)
    points = [
        _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), line.split(b" ")[_MOUNT_POINT])
        for line in mountinfo.splitlines()
    ]
    return [os.fsdecode(p) for p in points if p == own or p.startswith(own + b"/")]


def attached_below(folder: str, sysfs: Path = Path("/sys/block")) -> tuple[str, str] | None:
    """Return a file below `folder` that a loop device is bound to, and the device's name, if any.

    A killed agent's mount goes with the last process of its namespace, and the device with it.
    """
    for backing_file in sysfs.glob("loop*/loop/backing_file"):  # only bound ones have the file
        try:
            path = os.fsdecode(backing_file.read_bytes()).rstrip("\n")
        except OSError:  # it was unbound meanwhile
            continue
        if path.startswith(f"{folder}/"):
            return path.removesuffix(_DELETED), backing_file.parent.parent.name
    return None
