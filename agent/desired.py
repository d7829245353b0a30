"""What a desired state asks of this agent: obeyed state and message in, actions out. Pure.

Messages come late, twice and out of order (the reply to a report and the long poll are two roads),
so everything here is monotonic: a version below the one obeyed says nothing, and a run that was
asked to stop is never asked to run again. Tokens are the exception: renewed ones come with any
version, and the one signed last is kept.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from common.messages import DesiredState, RunState

if TYPE_CHECKING:
    from datetime import datetime

    from common.ids import RunNumber
    from common.secret import Secret
    from common.session_spec import SessionSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Obeyed:
    """What the agent goes by now."""

    run_number: RunNumber
    settings: SessionSettings
    token: Secret
    token_keys: str
    version: int = 0
    run_state: RunState = RunState.RUN
    deadline: datetime | None = None
    checkpoint_requested_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SaveNow:
    """Save the files as they are now."""

    requested_at: datetime


@dataclass(frozen=True, slots=True)
class Stop:
    """End in order."""

    reason: str


@dataclass(frozen=True, slots=True)
class ForceStop:
    """End without waiting for anything outside."""

    reason: str


@dataclass(frozen=True, slots=True)
class YieldToNewerRun:
    """End, keep the volume, commit nothing."""


@dataclass(frozen=True, slots=True)
class RenewToken:
    """Use this token from now on, in reports and tunnels."""

    token: Secret


@dataclass(frozen=True, slots=True)
class UpdateKeys:
    """Check `/.studio/` tokens with these keys from now on (JWKS)."""

    token_keys: str


Action = SaveNow | Stop | ForceStop | YieldToNewerRun | RenewToken | UpdateKeys

_URGENCY = {
    RunState.RUN: 0,
    RunState.STOP: 1,
    RunState.FORCE_STOP: 2,
    RunState.SUPERSEDED: 3,
}


def decide(obeyed: Obeyed, desired: DesiredState) -> tuple[Obeyed, tuple[Action, ...]]:
    """Return what to go by from now on, and what to do to get there."""
    if desired.run_number != obeyed.run_number:
        return obeyed, ()
    actions: list[Action] = []
    token = desired.agent_token
    if token and token != obeyed.token and _signed_at(token) >= _signed_at(obeyed.token):
        obeyed = replace(obeyed, token=token)
        actions.append(RenewToken(token))
    if desired.version < obeyed.version:
        return obeyed, tuple(actions)
    if desired.token_keys and desired.token_keys != obeyed.token_keys:
        obeyed = replace(obeyed, token_keys=desired.token_keys)
        actions.append(UpdateKeys(desired.token_keys))
    requested_at = desired.checkpoint_requested_at
    if requested_at is not None and requested_at != obeyed.checkpoint_requested_at:
        obeyed = replace(obeyed, checkpoint_requested_at=requested_at)
        actions.append(SaveNow(requested_at))
    if _URGENCY[desired.run_state] > _URGENCY[obeyed.run_state]:
        obeyed = replace(obeyed, run_state=desired.run_state)
        actions.append(_ending(desired))
    obeyed = replace(
        obeyed,
        version=desired.version,
        settings=desired.settings,
        deadline=desired.deadline,
    )
    return obeyed, tuple(actions)


def _ending(desired: DesiredState) -> Action:
    if desired.run_state is RunState.SUPERSEDED:
        return YieldToNewerRun()
    if desired.run_state is RunState.FORCE_STOP:
        return ForceStop(desired.stop_reason)
    return Stop(desired.stop_reason)


class _Times(msgspec.Struct, frozen=True):
    iat: float = 0.0


def _signed_at(token: Secret) -> float:
    """Return when a token was signed, as it says itself; 0 if it doesn't.

    Only to tell an older one of ours from a newer one: that it came over the channel that the token
    itself secures is all the trust there is, so the signature isn't checked.
    """
    parts = token.reveal().split(".")
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(payload, type=_Times).iat
    except (IndexError, binascii.Error, ValueError, msgspec.DecodeError):
        return 0.0
