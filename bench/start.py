"""How much later JupyterLab answers because there is a session around it, and how long it ends.

Three starts are compared: of the tool alone, of a session on a new volume, and of one on a volume
that was there. First all of them with everything in the page cache, as on a machine that is in use,
then all with a cold cache, as after a boot.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.agents import agent
from bench.disk import drop_caches, scratch
from bench.lab import lab, start_plainly
from bench.results import Bar, Findings, table
from bench.specs import new_session_id, session_spec
from bench.spread import Spread, spread
from bench.timeline import STEP_NAMES, parts as parts_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.session_spec import ToolSpec

PLAIN = "the tool alone"
NEW = "in a session, new volume"
KEPT = "in a session, its volume kept"
_SHORT = {NEW: "new volume", KEPT: "kept volume"}
WARM, COLD = "warm", "cold"

ADDED_SECONDS = 1.0
_DISK_BYTES_MAX = 4_000_000_000


@dataclass(frozen=True, slots=True)
class Start:
    """One start and one stop, in seconds."""

    seconds: float
    stop_seconds: float
    parts: dict[str, float] = field(default_factory=dict)


Samples = dict[tuple[str, str], list[Start]]
"""By kind and cache."""


async def run(rounds: int, _seconds: float, say: Callable[[str], None]) -> Findings:
    """Measure every start in every round."""
    samples: Samples = {(kind, cache): [] for kind in (PLAIN, NEW, KEPT) for cache in (WARM, COLD)}
    async with scratch(_DISK_BYTES_MAX) as folder:
        await _round(folder, 0, is_cold=False)  # brings everything into the cache
        for cache in (WARM, COLD):
            for number in range(rounds):
                for kind, start in (await _round(folder, number, is_cold=cache == COLD)).items():
                    samples[kind, cache].append(start)
                    say(
                        f"round {number + 1}/{rounds}  {cache}  {kind:30} {start.seconds:.2f} s, "
                        f"stop {start.stop_seconds:.2f} s"
                    )
    return Findings("Start of a session", sections(samples, rounds), bars(samples), why(samples))


async def _round(folder: Path, number: int, *, is_cold: bool) -> dict[str, Start]:
    """Do each start once, the tool alone first or last in turn."""
    tool = lab()
    found: dict[str, Start] = {}
    with tempfile.TemporaryDirectory(dir=folder) as name:
        here = Path(name)
        if number % 2:
            found = await _sessions(tool, here, is_cold=is_cold)
        if is_cold:
            await drop_caches()
        plain = await start_plainly(tool, here)
        found[PLAIN] = Start(plain.seconds, plain.stop_seconds)
        if not number % 2:
            found |= await _sessions(tool, here, is_cold=is_cold)
    return found


async def _sessions(tool: ToolSpec, folder: Path, *, is_cold: bool) -> dict[str, Start]:
    """Start a session on a new volume, and again on the same."""
    found: dict[str, Start] = {}
    spec = session_spec(new_session_id(), tool)
    for kind in (NEW, KEPT):
        if is_cold:
            await drop_caches()
        async with agent(folder, spec) as one:
            seconds = await one.running()
            steps = parts_of(one.log(), one.begun, seconds)
            found[kind] = Start(seconds, await one.stop(), steps)
    return found


# ── what it comes to; pure ───────────────────────────────────────────────────


def sections(samples: Samples, rounds: int) -> list[str]:
    """Return the section's paragraphs and tables."""
    columns = [(kind, cache) for cache in (WARM, COLD) for kind in _SHORT]
    return [
        f"JupyterLab, from before its process (or the agent's) is made until it answers (the "
        f"agent has reported `running`). Medians of {rounds} rounds, in brackets least and most, "
        "in seconds.",
        table(
            ("start", "page cache", "seconds", "more than the tool alone", "stop"),
            [
                (
                    kind,
                    cache,
                    _range(spread(each.seconds for each in starts)),
                    "–" if kind == PLAIN else f"{_added(samples, kind, cache):+.2f}",
                    _range(spread(each.stop_seconds for each in starts)),
                )
                for (kind, cache), starts in samples.items()
            ],
        ),
        "Where a session's start takes its time:",
        table(
            (
                "step",
                *(f"{kind.removeprefix('in a session, ')}, {cache}" for kind, cache in columns),
            ),
            [
                (step, *(f"{_part(samples[column], step):.3f}" for column in columns))
                for step in STEP_NAMES
            ],
        ),
    ]


def bars(samples: Samples) -> list[Bar]:
    """Return what was to be reached, and whether it was."""
    found: list[Bar] = []
    for cache in (WARM, COLD):
        for kind in _SHORT:
            added = _added(samples, kind, cache)
            claim = f"at most {ADDED_SECONDS:g} s more, {_SHORT[kind]}, {cache}"
            found.append(Bar(claim, f"{added:+.2f} s", added <= ADDED_SECONDS))
    return found


def why(samples: Samples) -> str:
    """Return what a start that takes too long spends its time with."""
    worst = max(
        ((kind, cache) for kind in _SHORT for cache in (WARM, COLD)),
        key=lambda column: _added(samples, *column),
    )
    steps = sorted(STEP_NAMES, key=lambda step: -_part(samples[worst], step))[:3]
    named = ", ".join(f"{step} {_part(samples[worst], step):.2f} s" for step in steps)
    return f"Most of the slowest one ({', '.join(worst)}) are {named}."


def _added(samples: Samples, kind: str, cache: str) -> float:
    ours = spread(each.seconds for each in samples[kind, cache]).median
    return ours - spread(each.seconds for each in samples[PLAIN, cache]).median


def _part(starts: list[Start], step: str) -> float:
    return spread(each.parts[step] for each in starts).median


def _range(values: Spread) -> str:
    return f"{values.median:.2f} ({values.least:.2f}–{values.most:.2f})"
