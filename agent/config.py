"""Arguments and session spec. The only module of the agent that looks at how it was called."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from common.ids import RunNumber, SessionId
from common.secret import Secret
from common.session_spec import SPEC_BYTES_MAX, SessionSpec, VolumeLimits, parse
from common.wire import MalformedMessageError, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

STATE_DIR = Path("/var/lib/studios")
"""Where a host's check looks for room unless told otherwise."""


class Addressee(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """As much of a spec as it takes to tell the control plane that the rest can't be understood.

    These names stay as they are in every version of the spec.
    """

    session_id: SessionId
    run_number: RunNumber
    control_plane_url: str
    agent_token: Secret


class BadSpecError(Exception):
    """There is no usable session spec. The text is a sentence; `addressee` may be told."""

    def __init__(self, sentence: str, addressee: Addressee | None = None) -> None:
        super().__init__(sentence)
        self.addressee = addressee


@dataclass(frozen=True, slots=True)
class HostCheck:
    """`--check`: not to run a session, but to say whether one could run here."""

    state_dir: Path
    image: Literal["host", "container"]
    carried: tuple[str, ...]
    json: bool
    initial_bytes: int
    has_sessions: bool


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line. Exactly one of `spec_fd`, `spec_file` and `check` is set."""

    spec_fd: int | None
    spec_file: Path | None
    log_level: str
    check: HostCheck | None = None


def parse_arguments(arguments: Sequence[str]) -> Arguments:
    """Parse the command line; ends the process with code 2 and usage if it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m agent", description="Runs one Studio's session; started by an engine."
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--spec-fd", type=int, metavar="N", help="descriptor to read the session spec from"
    )
    source.add_argument(
        "--spec-file",
        type=Path,
        metavar="PATH",
        help="file with the session spec, mode 0600; removed once read",
    )
    source.add_argument(
        "--check",
        action="store_true",
        help="say what this host lacks for sessions, and what gives it; 1 if none can run",
    )
    parser.add_argument("--json", action="store_true", help="with --check: for programs")
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=STATE_DIR,
        metavar="FOLDER",
        help=f"with --check: where volumes are to lie ({STATE_DIR})",
    )
    parser.add_argument(
        "--image",
        choices=("host", "container"),
        default="container",
        help="with --check: what sessions see, as in their specs (container)",
    )
    parser.add_argument(
        "--carried",
        action="append",
        default=[],
        metavar="FOLDER",
        help="with --check: a mount that comes along, as in sessions' specs",
    )
    parser.add_argument(
        "--initial-bytes",
        type=int,
        default=VolumeLimits().initial_bytes,
        metavar="N",
        help="with --check: with which size a new volume begins",
    )
    parser.add_argument(
        "--has-sessions",
        action="store_true",
        help="with --check: sessions lie there already, which run without room for another",
    )
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info"
    )
    found = parser.parse_args(arguments)
    check = None
    if found.check:
        check = HostCheck(
            state_dir=found.state_dir,
            image=found.image,
            carried=tuple(found.carried),
            json=found.json,
            initial_bytes=found.initial_bytes,
            has_sessions=found.has_sessions,
        )
    return Arguments(found.spec_fd, found.spec_file, found.log_level, check)


def load_spec(arguments: Arguments) -> SessionSpec:
    """Read the spec, remove its file, and return it; raises BadSpecError."""
    try:
        data = _read(arguments)
    except OSError as error:
        raise BadSpecError(f"the session spec can't be read: {error}") from None
    try:
        return parse(data)
    except MalformedMessageError as error:
        sentence = f"the session spec can't be used: {error}"
        raise BadSpecError(sentence, _addressee(data)) from None


def _read(arguments: Arguments) -> bytes:
    if arguments.spec_fd is not None:
        with os.fdopen(arguments.spec_fd, "rb") as file:
            return file.read(SPEC_BYTES_MAX + 1)
    assert arguments.spec_file is not None
    with arguments.spec_file.open("rb") as file:
        arguments.spec_file.unlink()  # it holds credentials, whether or not it parses
        return file.read(SPEC_BYTES_MAX + 1)


def _addressee(data: bytes) -> Addressee | None:
    try:
        return decode(data, Addressee)
    except MalformedMessageError:
        return None
