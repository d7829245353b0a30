"""Ids, secrets, the wire, back-off, loopback names and logs."""

from __future__ import annotations

import io
import json
import logging
import random

import msgspec
import pytest
import structlog

from common import log
from common.backoff import Backoff
from common.ids import parse_session_id
from common.loopback import LoopbackResolver, is_localhost
from common.secret import Secret
from common.wire import MalformedMessageError, decode, encode


class Note(msgspec.Struct, frozen=True, kw_only=True):
    text: str
    key: Secret | None = None


def test_session_ids_are_eight_lower_case_hex_digits() -> None:
    assert parse_session_id("0a1b2c3d") == "0a1b2c3d"
    for wrong in ("", "0A1B2C3D", "0a1b2c3", "0a1b2c3d0", "0a1b2c3g", "0a1b2c3d\n"):
        with pytest.raises(ValueError, match="hex digits"):
            parse_session_id(wrong)


def test_a_secret_shows_itself_only_when_asked() -> None:
    secret = Secret("pass")
    assert "pass" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == "pass"
    assert secret == Secret("pass")
    assert secret != Secret("word")
    assert secret != "pass"
    assert len({secret, Secret("pass")}) == 1
    assert not Secret("")


def test_messages_survive_the_wire_and_errors_name_the_field() -> None:
    note = Note(text="ä", key=Secret("k"))
    assert decode(encode(note), Note) == note
    with pytest.raises(MalformedMessageError, match="text"):
        decode(b'{"text": 1}', Note)
    with pytest.raises(MalformedMessageError):
        decode(b"\xff", Note)
    with pytest.raises(NotImplementedError):
        encode(object())


def test_json_that_is_nested_too_deeply_is_malformed_and_nothing_worse() -> None:
    for nested in (b'{"other": ' + b"[" * 100_000, b'{"other": ' + b'{"a":' * 100_000):
        with pytest.raises(MalformedMessageError, match="nested"):
            decode(nested, Note)


def test_pauses_double_to_their_limit_with_jitter_and_start_over_after_a_success() -> None:
    backoff = Backoff(first_seconds=1.0, seconds_max=8.0, rng=random.Random(1))
    for step in (1.0, 2.0, 4.0, 8.0, 8.0):
        assert step / 2 <= backoff.next_seconds() <= step
    backoff.reset()
    assert backoff.next_seconds() <= 1.0


async def test_localhost_names_are_this_machine_and_others_are_asked_for() -> None:
    assert is_localhost("a1.studio.localhost")
    assert is_localhost("LOCALHOST.")
    assert not is_localhost("localhost.example")
    resolver = LoopbackResolver()
    (found,) = await resolver.resolve("x.y.localhost", 80)
    assert (found["host"], found["port"]) == ("127.0.0.1", 80)
    (numeric,) = await resolver.resolve("127.0.0.2", 81)
    assert numeric["host"] == "127.0.0.2"
    await resolver.close()


def test_logs_are_one_json_line_with_the_program_and_fields() -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        log.configure(program="agent", stream=stream)
        structlog.get_logger().info("began", run=3, token=Secret("t0p"))
        structlog.get_logger().debug("not shown")
        logging.getLogger("library").warning("careful")
    finally:
        structlog.reset_defaults()
        root.handlers[:] = handlers
        root.setLevel(level)
    ours, library = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (ours["event"], ours["program"], ours["run"]) == ("began", "agent", 3)
    assert "t0p" not in stream.getvalue()
    assert library["event"] == "careful"
