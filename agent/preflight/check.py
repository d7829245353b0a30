"""**Start here.** Both ways of asking whether sessions can run here.

`check` is for an agent before it makes a session's root: it only looks, starts nothing, takes a few
milliseconds, and leaves out the limits, of which the session's status tells. `check_thoroughly` is
for `studios doctor` and `studios up`: it also tries what can only be known by trying, in processes
of their own, and takes about a second.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from agent.preflight.judgment import judge, judge_silence, may_try
from agent.preflight.survey import survey, with_limits
from agent.preflight.trials import run_trials
from common.findings import Surroundings
from common.session_spec import VolumeLimits
from common.threads import begin

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from agent.preflight.facts import Image
    from common.findings import Findings

ANSWER_SECONDS_MAX = 5.0
"""For a look that takes milliseconds: a mount of the network may be gone, a device may hang."""

T = TypeVar("T")


async def check(
    state_dir: Path,
    image: Image,
    *,
    carried: Collection[str] = (),
    initial_bytes: int = VolumeLimits().initial_bytes,
) -> Findings:
    """Look whether a session with its volume in `state_dir` could run. Quick: see the module."""
    try:
        facts = await _answered(lambda: survey(state_dir, image, carried, initial_bytes))
    except TimeoutError:
        return judge_silence(Surroundings.MACHINE, ANSWER_SECONDS_MAX)
    return judge(facts)


async def check_thoroughly(
    state_dir: Path,
    image: Image,
    *,
    carried: Collection[str] = (),
    initial_bytes: int = VolumeLimits().initial_bytes,
    has_sessions: bool = False,
) -> Findings:
    """Look, and try. Leaves nothing behind; an agent must not run in the same process."""
    try:
        facts = await _answered(
            lambda: with_limits(survey(state_dir, image, carried, initial_bytes))
        )
    except TimeoutError:
        return judge_silence(Surroundings.MACHINE, ANSWER_SECONDS_MAX)
    facts = replace(facts, place=replace(facts.place, has_sessions=has_sessions))
    trials = await run_trials(may_try(facts), facts.place.path)
    return judge(replace(facts, trials=trials))


async def _answered(look: Callable[[], T]) -> T:
    """Return `look()`, or raise TimeoutError and leave its thread behind."""
    async with asyncio.timeout(ANSWER_SECONDS_MAX):
        return await begin(look, name="preflight")
