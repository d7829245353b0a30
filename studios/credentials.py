"""Where commands are sent, and with which token.

Asked in this order: `STUDIOS_URL` and `STUDIOS_TOKEN`; the data folder that `STUDIOS_DATA_DIR`
names; what `studios login` wrote; the usual data folder, so that on the machine of a `studios up`
commands just work for whoever may read it. A token is
only ever sent to the address it was issued for: `STUDIOS_URL` alone does not take the token that
`studios login` stored for another address.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click
import msgspec

from common import wire
from common.secret import Secret
from studios.config import DATA_DIR
from studios.failures import CommandError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from studios.config import Settings

ADMIN_TOKEN_FILE = "admin-token"
URL_FILE = "url"
"""In the data folder: the address at which that `studios up` listens."""


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """An address and the token for it; also the content of the credentials file."""

    url: str
    token: Secret


def find(settings: Settings) -> Credentials:
    """Return where to go and how to get in, or raise with the command that helps."""
    if settings.url and not is_address(settings.url):
        raise click.BadParameter(
            f"{settings.url!r} is not an http or https address.", param_hint="STUDIOS_URL"
        )
    if settings.url and settings.token:
        return Credentials(url=settings.url, token=settings.token)
    for known in _stored(settings):
        if not settings.url or known.url == settings.url:
            return Credentials(url=known.url, token=settings.token or known.token)
    if settings.url:
        raise RefusedError(
            f"There is no token for {settings.url}: run `studios login {settings.url}`, "
            "or set STUDIOS_TOKEN."
        )
    raise RefusedError(
        "It is not known which Studios to talk to: run `studios login URL`, set STUDIOS_URL and "
        "STUDIOS_TOKEN, or start your own with `studios up`."
    )


def _stored(settings: Settings) -> Iterator[Credentials]:
    local = load_local(settings.data_dir)
    if local is not None and settings.data_dir != DATA_DIR:
        yield local
    if (logged_in := load(settings.credentials_path)) is not None:
        yield logged_in
    if local is not None:
        yield local


def is_address(url: str) -> bool:
    """Whether `url` is an http or https address, as far as text tells."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def load(path: Path) -> Credentials | None:
    """Return the content of the credentials file; None when there is none."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CommandError(f"{path} can't be read ({error.strerror}).") from None
    try:
        return wire.decode(data, Credentials)
    except wire.MalformedMessageError:
        raise CommandError(f"{path} is damaged: write it anew with `studios login URL`.") from None


def load_local(data_dir: Path) -> Credentials | None:
    """Return the way into this machine's own `studios up`; None when we may not read it."""
    try:
        url = (data_dir / URL_FILE).read_text(encoding="utf-8").strip()
        token = (data_dir / ADMIN_TOKEN_FILE).read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return Credentials(url=url, token=Secret(token))


def save(path: Path, credentials: Credentials) -> None:
    """Write the credentials file, readable by its owner only."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, wire.encode(credentials) + b"\n")
    except OSError as error:
        raise CommandError(f"{path} can't be written ({error.strerror}).") from None


def write_private(path: Path, data: bytes) -> None:
    """Replace `path` with a file of mode 0600; at no time is it half written or readable."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
    fresh.replace(path)
