"""What an engine may hand an agent, and what the agent refuses."""

from __future__ import annotations

import msgspec
import pytest

from common.ids import RunNumber, SessionId
from common.secret import Secret
from common.session_spec import (
    SPEC_BYTES_MAX,
    SPEC_VERSION,
    SessionSpec,
    ToolSpec,
    WorkDirectory,
    parse,
)
from common.wire import MalformedMessageError, encode


def spec(**changes: object) -> SessionSpec:
    tool = ToolSpec(name="jupyterlab", command=("start",), port=8080, working_directory="/w")
    fields: dict[str, object] = {
        "version": SPEC_VERSION,
        "session_id": SessionId("0123abcd"),
        "run_number": RunNumber(3),
        "studio_name": "demo",
        "control_plane_url": "http://studio.localhost:9191",
        "edge_urls": ("http://studio.localhost:9191",),
        "session_host": "a0123abcd.studio.localhost:9191",
        "agent_token": Secret("s3cret"),
        "token_keys": "{}",
        "tool": tool,
        "environment": {"A": "b"},
        "host_state_dir": "/state",
        "work_directory": WorkDirectory(url="file:///w", credentials={"key": Secret("k3y")}),
    }
    return SessionSpec(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_spec_survives_the_wire_with_its_secrets() -> None:
    assert parse(encode(spec())) == spec()


def test_a_spec_does_not_show_its_secrets() -> None:
    shown = repr(spec())
    assert "s3cret" not in shown
    assert "k3y" not in shown


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"version": 2}, "version 2"),
        ({"session_id": "0123ABCD"}, "8 lower-case hex digits"),
        ({"session_id": "../../x"}, "8 lower-case hex digits"),
        ({"run_number": 0}, "run number 0"),
        (
            {"tool": ToolSpec(name="t", command=(), port=1, working_directory="/")},
            "command is empty",
        ),
        (
            {"tool": ToolSpec(name="t", command=("x",), port=0, working_directory="/")},
            "port 0",
        ),
        (
            {"tool": ToolSpec(name="t", command=("x",), port=70000, working_directory="/")},
            "port 70000",
        ),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused_by_name(
    changes: dict[str, object], named: str
) -> None:
    with pytest.raises(MalformedMessageError, match=named):
        parse(encode(spec(**changes)))


def test_an_unknown_field_is_refused_because_it_may_ask_for_what_this_agent_cannot_do() -> None:
    fields = msgspec.json.decode(encode(spec()))
    with pytest.raises(MalformedMessageError, match="confinement"):
        parse(msgspec.json.encode({**fields, "confinement": "none"}))


def test_a_missing_field_a_wrong_type_and_an_endless_spec_are_refused() -> None:
    fields = msgspec.json.decode(encode(spec()))
    del fields["edgeUrls"]
    with pytest.raises(MalformedMessageError, match="edgeUrls"):
        parse(msgspec.json.encode(fields))
    with pytest.raises(MalformedMessageError, match="runNumber"):
        parse(msgspec.json.encode({**fields, "edgeUrls": [], "runNumber": "three"}))
    with pytest.raises(MalformedMessageError, match="agentToken"):
        parse(msgspec.json.encode({**fields, "edgeUrls": [], "agentToken": 5}))
    with pytest.raises(MalformedMessageError, match="larger"):
        parse(b" " * (SPEC_BYTES_MAX + 1))
