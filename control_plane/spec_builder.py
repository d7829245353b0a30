"""Builds what an engine hands the agent of one run. Pure but for the signature on the token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from common.session_spec import (
    SPEC_VERSION,
    ResourceLimits,
    SessionSpec,
    ToolSpec,
)
from control_plane.desired import agent_token
from control_plane.model import SessionConfiguration
from control_plane.work_directories import work_directory

if TYPE_CHECKING:
    from common.session_spec import CheckpointSpec
    from common.templates import TemplateFacts
    from common.tokens import TokenSigner
    from control_plane.model import ComputeEnv, Studio
    from control_plane.settings import ServiceSettings

WORKSPACE = "/workspace"
"""The tool's working directory, in the session."""
_MIB = 1024**2


def build_spec(
    studio: Studio,
    template: TemplateFacts,
    env: ComputeEnv,
    *,
    checkpoint: CheckpointSpec | None,
    signer: TokenSigner,
    settings: ServiceSettings,
) -> SessionSpec:
    """Return the spec of the Studio's newest run.

    What only its engine knows, that completes: the tool's port, what the root is made from.
    """
    state_dir = settings.sessions_dir / studio.session_id
    return SessionSpec(
        version=SPEC_VERSION,
        session_id=studio.session_id,
        run_number=studio.run_number,
        studio_name=studio.name,
        control_plane_url=settings.control_plane_url,
        edge_urls=settings.edge_urls,
        session_host=settings.session_host(studio.session_id),
        agent_token=agent_token(signer, studio.session_id, studio.run_number),
        token_keys=signer.public_keys(),
        tool=ToolSpec(
            name=template.name,
            command=template.command,
            port=template.port,
            working_directory=WORKSPACE,
            readiness_path=template.readiness_path,
            activity=template.activity,
        ),
        environment=environment(studio, template, env),
        host_state_dir=str(state_dir),
        work_directory=work_directory(env.work_dir, env, settings.access),
        checkpoint=checkpoint,
        volume=msgspec.structs.replace(settings.volume, limit_bytes=env.disk_limit_bytes),
        resources=_resources(studio),
        settings=settings.session,
    )


def environment(studio: Studio, template: TemplateFacts, env: ComputeEnv) -> dict[str, str]:
    """Image, compute environment, Studio, session: the later wins."""
    session = studio.session_configuration or SessionConfiguration()
    return {
        **template.environment,
        **env.environment,
        **studio.configuration.environment,
        **session.environment,
    }


def _resources(studio: Studio) -> ResourceLimits:
    session = studio.session_configuration or SessionConfiguration()
    cpu = studio.configuration.cpu if session.cpu is None else session.cpu
    memory = studio.configuration.memory if session.memory is None else session.memory
    return ResourceLimits(cpus=float(cpu), memory_bytes=memory * _MIB)
