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

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_HOME = "/root"  # the tool is root in its session, and this is kept like everything else
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)


class UnknownVariableError(ValueError):
    """The tool's command names a variable that its environment doesn't have."""


def tool_environment(tool: ToolSpec, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the tool's whole environment; `variables` win over the minimum, CONNECT_* over all."""
    return {
        "PATH": _PATH,
        "HOME": _HOME,
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        **variables,
        PORT_VARIABLE: str(tool.port),
        PREFIX_VARIABLE: tool.path_prefix,
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
