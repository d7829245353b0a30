"""What an agent is told: the desired state of its run, made of the Studio as it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.messages import DesiredState, RunState
from common.secret import Secret
from common.tokens import AGENT_AUDIENCE, AgentClaims

if TYPE_CHECKING:
    from datetime import datetime

    from common.ids import RunNumber, SessionId
    from common.session_spec import SessionSettings
    from common.tokens import TokenSigner
    from control_plane.model import Studio

AGENT_TOKEN_SECONDS = 24 * 3600.0
"""Long enough to outlive a day without control plane, short enough to matter when it leaks."""


def agent_token(signer: TokenSigner, session_id: SessionId, run: RunNumber) -> Secret:
    """Sign a token for one run's agent."""
    now = signer.now()
    claims = AgentClaims(
        aud=AGENT_AUDIENCE, iat=now, exp=now + AGENT_TOKEN_SECONDS, sid=session_id, run=run
    )
    return Secret(signer.sign(claims))


def is_renewal_due(issued_at: datetime, now: datetime) -> bool:
    """Past half its life, so that half a life is left to deliver the next one."""
    return (now - issued_at).total_seconds() >= AGENT_TOKEN_SECONDS / 2


def desired_state(
    studio: Studio,
    run: RunNumber,
    *,
    token: Secret | None,
    token_keys: str,
    settings: SessionSettings,
) -> DesiredState:
    """Answer the agent of `run`. An older run is told that it is superseded, and nothing else."""
    if run < studio.run_number:
        return DesiredState(
            version=studio.desired_version, run_number=run, run_state=RunState.SUPERSEDED
        )
    return DesiredState(
        version=studio.desired_version,
        run_number=run,
        run_state=studio.run_state,
        stop_reason=studio.stop_reason.value if studio.stop_reason else "",
        deadline=studio.deadline,
        checkpoint_requested_at=studio.checkpoint_requested_at,
        agent_token=token,
        token_keys=token_keys,
        settings=settings,
    )
