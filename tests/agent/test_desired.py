"""What a desired state asks for."""

from __future__ import annotations

import base64
import itertools
import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from agent.desired import (
    ForceStop,
    Obeyed,
    RenewToken,
    SaveNow,
    Stop,
    UpdateKeys,
    YieldToNewerRun,
    decide,
)
from common.ids import RunNumber
from common.messages import DesiredState, RunState
from common.secret import Secret
from common.session_spec import SessionSettings

RUN = RunNumber(2)


def signed_at(seconds: float) -> Secret:
    payload = base64.urlsafe_b64encode(json.dumps({"iat": seconds}).encode()).decode().rstrip("=")
    return Secret(f"header.{payload}.signature")


OBEYED = Obeyed(
    run_number=RUN, settings=SessionSettings(), token=signed_at(100), token_keys="", version=5
)
DESIRED = DesiredState(version=6, run_number=RUN, run_state=RunState.RUN)


def wish(**fields: object) -> DesiredState:
    return msgspec.structs.replace(DESIRED, **fields)


@pytest.mark.parametrize(
    ("run_state", "action"),
    [
        (RunState.RUN, None),
        (RunState.STOP, Stop("IDLE")),
        (RunState.FORCE_STOP, ForceStop("IDLE")),
        (RunState.SUPERSEDED, YieldToNewerRun()),
    ],
)
def test_each_state_asks_for_its_action_once(run_state: RunState, action: object) -> None:
    desired = wish(run_state=run_state, stop_reason="IDLE")
    obeyed, actions = decide(OBEYED, desired)
    assert actions == ((action,) if action else ())
    assert decide(obeyed, desired) == (obeyed, ())


def test_a_wish_to_save_now_is_heard_once() -> None:
    requested_at = datetime(2030, 1, 1, tzinfo=UTC)
    obeyed, actions = decide(OBEYED, wish(checkpoint_requested_at=requested_at))
    assert actions == (SaveNow(requested_at),)
    assert decide(obeyed, wish(checkpoint_requested_at=requested_at)) == (obeyed, ())
    later = requested_at + timedelta(seconds=1)
    assert decide(obeyed, wish(checkpoint_requested_at=later))[1] == (SaveNow(later),)


def test_a_lower_version_says_nothing() -> None:
    assert decide(OBEYED, wish(version=4, run_state=RunState.STOP)) == (OBEYED, ())


def test_another_run_s_state_says_nothing() -> None:
    for run in (RunNumber(1), RunNumber(3)):
        assert decide(OBEYED, wish(run_number=run, run_state=RunState.STOP)) == (OBEYED, ())


def test_a_stop_is_never_taken_back() -> None:
    obeyed, _ = decide(OBEYED, wish(run_state=RunState.STOP))
    obeyed, actions = decide(obeyed, wish(version=9, run_state=RunState.RUN))
    assert obeyed.run_state is RunState.STOP
    assert actions == ()


def test_a_stop_may_turn_into_a_forced_one() -> None:
    obeyed, _ = decide(OBEYED, wish(run_state=RunState.STOP))
    _, actions = decide(obeyed, wish(version=7, run_state=RunState.FORCE_STOP))
    assert actions == (ForceStop(""),)


def test_the_newest_token_is_kept_in_any_order_of_arrival() -> None:
    tokens = [signed_at(200), signed_at(300), signed_at(250)]
    for order in itertools.permutations(tokens):
        obeyed = OBEYED
        for version, token in enumerate(order, start=4):
            obeyed, _ = decide(obeyed, wish(version=version, agent_token=token))
        assert obeyed.token == signed_at(300)


def test_a_renewed_token_is_used_once() -> None:
    desired = wish(agent_token=signed_at(200))
    obeyed, actions = decide(OBEYED, desired)
    assert actions == (RenewToken(signed_at(200)),)
    assert decide(obeyed, desired)[1] == ()


def test_keys_change_only_when_there_are_any() -> None:
    obeyed, actions = decide(OBEYED, wish(token_keys="{}"))
    assert actions == (UpdateKeys("{}"),)
    obeyed, actions = decide(obeyed, wish(version=7))
    assert (obeyed.token_keys, actions) == ("{}", ())


def test_settings_follow_the_newest_version() -> None:
    settings = SessionSettings(status_interval_seconds=3)
    obeyed, _ = decide(OBEYED, wish(settings=settings))
    assert (obeyed.settings, obeyed.version) == (settings, 6)
