"""What to open, and how to get there from another computer. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studios.up.plan import Plan

_SSH_CONNECTION_FIELDS = 4


def ssh_line(ssh_connection: str, *, user: str, port: int) -> str:
    """Return the `ssh -L` command for one's own computer; empty when we don't run over SSH.

    `*.localhost` is the browser's own machine there too, so with the port forwarded every link
    works unchanged.
    """
    fields = ssh_connection.split()
    if len(fields) != _SSH_CONNECTION_FIELDS:
        return ""
    _, _, address, ssh_port = fields
    other_port = "" if ssh_port == "22" else f" -p {ssh_port}"
    return f"ssh -L {port}:127.0.0.1:{port}{other_port} {user}@{address}"


def welcome(plan: Plan, *, login_link: str, session_url: str, ssh: str) -> list[str]:
    """Return the lines that say where everything is; links stand alone on theirs."""
    lines = ["", "Log in with this link; it works once (another: `studios login --link`):"]
    lines += [f"  {login_link}"]
    if session_url:
        lines += ["The session, for whoever is logged in:", f"  {session_url}"]
    if ssh:
        lines += ["On your own computer, run this first, then open the links there:", f"  {ssh}"]
    return [*lines, f"The log is {plan.log}. Ctrl-C stops the sessions, then this.", ""]
