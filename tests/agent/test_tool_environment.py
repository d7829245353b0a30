"""What the tool sees of the session spec."""

from __future__ import annotations

import pytest

from agent.supervisor.environment import UnknownVariableError, arguments, tool_environment
from common.session_spec import ToolSpec


def tool(*command: str) -> ToolSpec:
    return ToolSpec(
        name="T", command=command, port=8080, working_directory="/workspace", path_prefix="/p"
    )


def test_the_studio_s_variables_win_over_the_minimum_and_lose_against_connect() -> None:
    variables = {"LANG": "de_DE", "CONNECT_TOOL_PORT": "1", "A": "b"}
    environment = tool_environment(tool("x"), variables)
    assert environment["LANG"] == "de_DE"
    assert environment["CONNECT_TOOL_PORT"] == "8080"
    assert environment["CONNECT_TOOL_PATH_PREFIX"] == "/p"
    assert environment["A"] == "b"


def test_home_is_root_s_in_the_session_unless_the_studio_says_otherwise() -> None:
    assert tool_environment(tool("x"), {})["HOME"] == "/root"
    assert tool_environment(tool("x"), {"HOME": "/workspace"})["HOME"] == "/workspace"


def test_nothing_of_the_agent_s_own_environment_is_in_it() -> None:
    assert tool_environment(tool("x"), {"A": "b"}).keys() == {
        "PATH",
        "HOME",
        "LANG",
        "TERM",
        "A",
        "CONNECT_TOOL_PORT",
        "CONNECT_TOOL_PATH_PREFIX",
    }


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--port=${PORT}", "--port=8080"),
        ("${PORT}${PORT}", "80808080"),
        ("$PORT $5 $$ ${ }", "$PORT $5 $$ ${ }"),
        ("${NESTED}", "${PORT}"),
        ("; rm -rf /", "; rm -rf /"),
    ],
)
def test_braced_variables_are_replaced_once_and_no_shell_is_involved(
    argument: str, expected: str
) -> None:
    environment = {"PORT": "8080", "NESTED": "${PORT}"}
    assert arguments(tool("run", argument), environment) == ("run", expected)


def test_an_unknown_variable_is_named() -> None:
    with pytest.raises(UnknownVariableError, match="NOWHERE"):
        arguments(tool("run", "${NOWHERE}"), {})
