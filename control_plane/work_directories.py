"""How a work directory is opened, as agents and this program's own processes are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.session_spec import WorkDirectory

if TYPE_CHECKING:
    from control_plane.model import ComputeEnv
    from control_plane.work_access import WorkAccess


def work_directory(url: str, env: ComputeEnv | None, access: WorkAccess) -> WorkDirectory:
    """Return it with what its compute environment has to say; `env` is None if that is gone."""
    found = access.of(url)
    return WorkDirectory(
        url=url,
        single_writer=env is not None and env.single_writer,
        credentials=dict(found.credentials),
        endpoint=found.endpoint,
        region=found.region or (env.region if env is not None else ""),
        account=found.account,
    )
