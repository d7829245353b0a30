"""What must be true before `studios up` changes anything: each failure is one sentence.

Questions only: nothing is created, so that a start that can't succeed leaves no trace.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from typing import TYPE_CHECKING

import psutil

from common.findings import refusal_text, warnings
from common.templates import InvalidTemplateError, load_templates
from studios.failures import CommandError
from studios.host_check import look_at_host
from studios.up.plan import DATABASE_FILE, WORK_FOLDER

if TYPE_CHECKING:
    from pathlib import Path

    from common.findings import Findings
    from studios.up.plan import Plan

_SOCKET_PATH_BYTES_MAX = 107  # sockaddr_un.sun_path is 108 with its final zero (unix(7))


def check_all(plan: Plan) -> tuple[str, ...]:
    """Raise the first thing that stands in the way; return what sessions will do without."""
    check_privilege(os.geteuid())
    check_tools(plan.images_dir)
    check_socket_path(plan.socket)  # first: a name may be too long even to look for
    check_data_dir(plan.data_dir)
    check_port(plan.host, plan.port)
    looking = look_at_host(plan.data_dir, plan.carried, initial_bytes=plan.volume.initial_bytes)
    return check_host(asyncio.run(looking))


def check_privilege(user_id: int) -> None:
    if user_id != 0:
        raise CommandError(
            "`studios up` needs root, because sessions have file systems and networks of their "
            "own, which only root can make: run it with sudo."
        )


def check_host(found: Findings) -> tuple[str, ...]:
    """Refuse a machine on which no session can run; return a sentence for each loss."""
    if refusal := refusal_text(found):
        raise CommandError(f"{refusal} `studios doctor` shows everything.")
    return warnings(found)


def check_tools(images_dir: Path) -> None:
    try:
        templates = load_templates(images_dir)
    except (InvalidTemplateError, OSError) as error:
        raise CommandError(f"The templates in {images_dir} can't be read: {error}.") from None
    if not templates:
        raise CommandError(f"There are no templates in {images_dir}: check out the project again.")
    for facts in templates.values():
        program = facts.command[0]
        if not os.access(program, os.X_OK):
            raise CommandError(
                f"{facts.title} is not installed ({program} is missing): run scripts/install."
            )


def check_data_dir(data_dir: Path) -> None:
    """A folder that exists must be writable; one that doesn't, its nearest parent."""
    nearest = data_dir
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        raise CommandError(f"{nearest} is not a folder: choose another with --data-dir.")
    if not os.access(nearest, os.W_OK | os.X_OK) or _is_read_only(nearest):
        raise CommandError(f"{nearest} is not writable: choose another folder with --data-dir.")
    if nearest == data_dir:
        _check_is_ours(data_dir)


def _check_is_ours(data_dir: Path) -> None:
    """A folder that others use, such as /tmp, would be closed to them."""
    if not data_dir.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return
    names = {entry.name for entry in data_dir.iterdir()}
    if DATABASE_FILE not in names and names - {WORK_FOLDER}:
        raise CommandError(
            f"{data_dir} holds other things and is open to others: "
            "choose a new or empty folder with --data-dir."
        )


def check_socket_path(path: Path) -> None:
    length = len(os.fsencode(path))
    if length > _SOCKET_PATH_BYTES_MAX:
        raise CommandError(
            f"{path} is {length} bytes long, a socket's path may have {_SOCKET_PATH_BYTES_MAX}: "
            "choose a shorter --data-dir."
        )


def check_port(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # Connections of a previous run that are still closing don't hold the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CommandError(
                f"Port {port} is in use{_holder(port)}: "
                "stop that, or choose another port with --port."
            ) from None
        raise CommandError(
            f"{host}:{port} can't be listened on ({error.strerror}): check --host and --port."
        ) from None


def _holder(port: int) -> str:
    """Return ` by <name> (process <id>)`, or nothing if the system doesn't tell."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status != psutil.CONN_LISTEN or not connection.laddr:
                continue
            if connection.laddr.port == port and connection.pid is not None:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.Error, OSError):
        pass
    return ""


def _is_read_only(folder: Path) -> bool:
    # access(2) answers yes to root even where the file system is mounted read-only.
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
