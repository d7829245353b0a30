"""The script `studio`: no program of an image's is needed but a shell and an HTTP client."""

from __future__ import annotations

from pathlib import Path

NAME = "studio"
SOCKET_INSIDE = "/run/studio/agent.sock"
"""Where the session sees the agent's socket; the script says the same."""
_SCRIPT = Path(__file__).parent / "studio.sh"


def script() -> str:
    """Return its text."""
    return _SCRIPT.read_text(encoding="utf-8")
