"""How a work directory is opened, as agents and this program's own processes are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.session_spec import WorkDirectory

if TYPE_CHECKING:
    from control_plane.model import ComputeEnv


def work_directory(url: str, env: ComputeEnv | None) -> WorkDirectory:
    """Return it with what its compute environment has to say.

    Where that has no credentials, or is gone, those of the machine are found.
    """
    return WorkDirectory(url=url, single_writer=env is not None and env.single_writer)
