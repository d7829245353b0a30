"""Building blocks for tests of the control plane's core."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.ids import RunNumber, SessionId
from common.secret import Secret
from common.session_spec import SPEC_VERSION, SessionSpec, ToolSpec, WorkDirectory

if TYPE_CHECKING:
    from pathlib import Path


def spec_of(session_id: SessionId, run: int, folder: Path) -> SessionSpec:
    state = str(folder / session_id)
    return SessionSpec(
        version=SPEC_VERSION,
        session_id=session_id,
        run_number=RunNumber(run),
        studio_name="a Studio",
        control_plane_url="http://studio.localhost",
        edge_urls=(),
        session_host=f"a{session_id}.studio.localhost",
        agent_token=Secret("token"),
        token_keys="",
        tool=ToolSpec(name="tool", command=("tool",), port=1, working_directory="/workspace"),
        environment={},
        host_state_dir=state,
        work_directory=WorkDirectory(url="file:///none"),
    )
