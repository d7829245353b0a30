"""Session specs of benchmarks."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from common.ids import RunNumber, SessionId
from common.secret import Secret
from common.session_spec import SPEC_VERSION, RootSpec, SessionSpec, WorkDirectory

if TYPE_CHECKING:
    from common.session_spec import ToolSpec


def new_session_id() -> SessionId:
    """Return one that no other session of this machine has."""
    return SessionId(secrets.token_hex(4))


def session_spec(session_id: SessionId, tool: ToolSpec) -> SessionSpec:
    """Return the spec of a session with no edge, on this machine as the engine `local` has it.

    What is empty in it is for whoever runs it to say.
    """
    return SessionSpec(
        version=SPEC_VERSION,
        session_id=session_id,
        run_number=RunNumber(1),
        studio_name="bench",
        control_plane_url="",
        edge_urls=(),
        session_host="",
        agent_token=Secret("bench"),
        token_keys="",
        tool=tool,
        environment={},
        host_state_dir="",
        work_directory=WorkDirectory(url=""),
        root=RootSpec(image="host"),
    )
