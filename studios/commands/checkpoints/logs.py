"""What libraries log while a command runs: warnings, beside what it says to people."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO, cast

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console


@contextmanager
def warnings_only(console: Console) -> Iterator[None]:
    """Let only warnings through, to where the console writes: the output may be read by scripts."""
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", console.file)),
    )
    try:
        yield
    finally:
        structlog.configure(**before)
