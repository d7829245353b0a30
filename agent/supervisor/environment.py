"""What the tool sees of the session spec: its environment variables and its arguments. Pure.

The tool's environment is built from nothing: the agent's own variables never reach it, because an
engine or an administrator may have put anything there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from common.session_spec import ToolSpec

PORT_VARIABLE = "CONNECT_TOOL_PORT"
PREFIX_VARIABLE = "CONNECT_TOOL_PATH_PREFIX"
ID_VARIABLE = "CONNECT_TOOL_ID"
"""Names the agent's start that a process belongs to. Processes keep it when they leave their group,
session and parent, so that the next agent finds what a killed one left (see `predecessor`)."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)


class UnknownVariableError(ValueError):
    """The tool's command names a variable that its environment doesn't have."""


def tool_environment(
    tool: ToolSpec, variables: Mapping[str, str], *, tool_id: str
) -> dict[str, str]:
    """Return the tool's whole environment; `variables` win over the minimum, CONNECT_* over all.

    HOME is the working directory: settings and histories belong to the Studio, and two Studios
    on one machine don't share them.
    """
    return {
        "PATH": _PATH,
        "HOME": tool.working_directory,
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        **variables,
        PORT_VARIABLE: str(tool.port),
        PREFIX_VARIABLE: tool.path_prefix,
        ID_VARIABLE: tool_id,
    }


def arguments(tool: ToolSpec, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the command with each `${NAME}` replaced, or raise UnknownVariableError.

    Only the braced form is replaced, once: no shell, no nesting, `$HOME` and `$5` stay as they are.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in environment:
            raise UnknownVariableError(
                f"the tool's command uses ${{{name}}}, which is not in its environment"
            )
        return environment[name]

    return tuple(_VARIABLE.sub(value, argument) for argument in tool.command)
