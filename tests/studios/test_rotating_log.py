"""The log of `studios up` while it is written: limited, private, and never a reason to end."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, TextIO, cast

import pytest
import structlog

from common import log
from studios.up.rotating_log import RotatingLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINE = "0123456789\n"


@pytest.fixture
def logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_it_never_holds_more_than_its_limit_and_keeps_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "studios.log"
    with RotatingLog(path, bytes_max=5 * len(LINE)) as stream:
        for _ in range(13):
            stream.write(LINE)
            assert path.stat().st_size <= 5 * len(LINE)
    assert path.read_text() == 3 * LINE
    assert (tmp_path / "studios.log.1").read_text() == 5 * LINE
    assert len(list(tmp_path.iterdir())) == 2


def test_what_an_earlier_run_wrote_counts(tmp_path: Path) -> None:
    path = tmp_path / "studios.log"
    path.write_text(5 * LINE)
    with RotatingLog(path, bytes_max=5 * len(LINE)) as stream:
        stream.write(LINE)
    assert path.read_text() == LINE


def test_it_is_for_its_owner_only_even_if_it_was_not(tmp_path: Path) -> None:
    path = tmp_path / "studios.log"
    path.touch(mode=0o644)
    with RotatingLog(path, bytes_max=len(LINE)) as stream:
        stream.write(LINE + LINE)
        stream.write(LINE)
    assert [file.stat().st_mode & 0o777 for file in tmp_path.iterdir()] == [0o600, 0o600]


def test_a_log_that_cannot_be_put_aside_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "studios.log"
    (tmp_path / "studios.log.1").mkdir()
    with RotatingLog(path, bytes_max=2 * len(LINE)) as stream:
        for _ in range(4):
            stream.write(LINE)
    assert path.read_text() == 3 * LINE  # one is lost with each try


def test_loggers_that_exist_follow_it_into_the_new_file(
    tmp_path: Path, logging_restored: None
) -> None:
    path = tmp_path / "studios.log"
    with RotatingLog(path, bytes_max=1000) as stream:
        log.configure(program="test", stream=cast("TextIO", stream))
        logger = structlog.get_logger().bind()
        for number in range(50):
            logger.warning("refused", number=number)
            logging.getLogger("library").warning("refused, too")
    lines = path.read_text().splitlines()
    assert json.loads(lines[-1])["event"] == "refused, too"
    assert json.loads(lines[-2])["number"] == 49
