"""What the command line takes from its environment, read once."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from common.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

DATA_DIR = Path("/var/lib/studios")
"""Where `studios up` keeps everything, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment variables that mean something to us, parsed."""

    url: str
    """STUDIOS_URL; empty when not set."""
    token: Secret
    """STUDIOS_TOKEN; empty when not set."""
    credentials_path: Path
    """$XDG_CONFIG_HOME/studios/credentials, written by `studios login`."""
    data_dir: Path
    """STUDIOS_DATA_DIR: the data folder of a `studios up` on this machine."""
    ssh_connection: str
    """SSH_CONNECTION: `client-address client-port server-address server-port`, or empty."""
    user: str
    """The person's account on this machine, for the `ssh` line we print."""
    terminal_type: str = ""
    """TERM: what the person's terminal understands; empty when not set."""
    bucket_variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """How buckets are reached: see `checkpoints.storage.environment`."""


def parse(environ: Mapping[str, str]) -> Settings:
    home = Path(environ.get("HOME") or "/root")
    config_home = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    return Settings(
        url=environ.get("STUDIOS_URL", "").rstrip("/"),
        token=Secret(environ.get("STUDIOS_TOKEN", "").strip()),
        credentials_path=config_home / "studios" / "credentials",
        data_dir=Path(environ.get("STUDIOS_DATA_DIR") or DATA_DIR),
        ssh_connection=environ.get("SSH_CONNECTION", ""),
        user=environ.get("SUDO_USER") or environ.get("USER") or environ.get("LOGNAME") or "root",
        terminal_type=environ.get("TERM", ""),
        bucket_variables={
            name: value
            for name, value in environ.items()
            if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))
        },
    )


def read() -> Settings:
    return parse(os.environ)
