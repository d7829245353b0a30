"""Messages of exec, as bytes and back."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from common.exec.messages import (
    SIGNALS,
    BadMessageError,
    Credit,
    Exit,
    FromAgent,
    FromClient,
    Notice,
    Order,
    Resize,
    Signal,
    Started,
    Stderr,
    Stdin,
    StdinEnd,
    Stdout,
    Terminal,
    pack,
    parse_from_agent,
    parse_from_client,
)

words = st.binary(max_size=20).filter(lambda word: b"\0" not in word)
terminals = st.builds(
    Terminal,
    rows=st.integers(1, 0xFFFF),
    columns=st.integers(1, 0xFFFF),
    type=st.from_regex(r"[A-Za-z0-9._+-]{1,64}", fullmatch=True),
)
orders = st.builds(
    Order,
    arguments=st.lists(words.filter(bool), min_size=1).map(tuple),
    stdin=st.booleans(),
    terminal=st.none() | terminals,
    environment=st.lists(words.map(lambda word: b"NAME=" + word)).map(tuple),
    working_directory=st.none() | words,
)
from_client = (
    orders
    | st.builds(Stdin, st.binary(min_size=1))
    | st.just(StdinEnd())
    | st.builds(Resize, st.integers(1, 0xFFFF), st.integers(1, 0xFFFF))
    | st.builds(Signal, st.sampled_from(sorted(SIGNALS)))
)
from_agent = (
    st.builds(Started, st.integers(0, 2**32 - 1))
    | st.builds(Stdout, st.binary())
    | st.builds(Stderr, st.binary())
    | st.builds(Credit, st.integers(0, 2**32 - 1))
    | st.builds(Notice, st.text())
    | st.builds(Exit, code=st.integers(0, 255))
    | st.builds(Exit, signal=st.sampled_from(["SIGKILL", "SIG41"]))
    | st.builds(Exit, failure=st.text())
)


@given(from_client)
def test_what_a_client_says_is_heard(message: FromClient) -> None:
    assert parse_from_client(pack(message)) == message


@given(from_agent)
def test_what_an_agent_says_is_heard(message: FromAgent) -> None:
    assert parse_from_agent(pack(message)) == message


@given(from_client, from_agent)
def test_neither_speaks_for_the_other(mine: FromClient, its: FromAgent) -> None:
    with pytest.raises(BadMessageError):
        parse_from_agent(pack(mine))
    with pytest.raises(BadMessageError):
        parse_from_client(pack(its))


@given(st.binary())
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    for parse in (parse_from_client, parse_from_agent):
        try:
            message = parse(data)
        except BadMessageError:
            continue
        assert parse(pack(message)) == message


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b'{"code":1,"signal":"SIGINT"}',
        b'{"code":-1}',
        b'{"code":256}',
        b'{"signal":"INT"}',
        b'{"code":0,"more":1}',
        b"",
    ],
)
def test_an_exit_is_one_and_only_one(content: bytes) -> None:
    with pytest.raises(BadMessageError, match="exit"):
        parse_from_agent(b"\x85" + content)


def test_the_bytes_are_those_of_the_document() -> None:
    assert pack(Order(arguments=(b"ls",))) == b'\x00{"arguments":["bHM="]}'
    assert pack(Stdin(b"x")) == b"\x01x"
    assert pack(StdinEnd()) == b"\x02"
    assert pack(Resize(1, 258)) == b"\x03\0\x01\x01\x02"
    assert pack(Signal("SIGINT")) == b"\x04SIGINT"
    assert pack(Started(258)) == b"\x80\0\0\x01\x02"
    assert pack(Stdout(b"x")) == b"\x81x"
    assert pack(Stderr(b"x")) == b"\x82x"
    assert pack(Credit(1)) == b"\x83\0\0\0\x01"
    assert pack(Notice("é")) == b"\x84\xc3\xa9"
    assert pack(Exit(code=0)) == b'\x85{"code":0}'
