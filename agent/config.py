"""Arguments and session spec. The only module of the agent that looks at how it was called."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from common.ids import RunNumber, SessionId
from common.secret import Secret
from common.session_spec import SPEC_BYTES_MAX, SessionSpec, parse
from common.wire import MalformedMessageError, decode

if TYPE_CHECKING:
    from collections.abc import Sequence


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
class Arguments:
    """The command line. Exactly one of `spec_fd` and `spec_file` is set."""

    spec_fd: int | None
    spec_file: Path | None
    log_level: str


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
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info"
    )
    found = parser.parse_args(arguments)
    return Arguments(found.spec_fd, found.spec_file, found.log_level)


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
