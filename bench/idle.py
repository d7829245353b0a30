"""What an agent costs while nobody does anything: memory and CPU time of all its processes.

The session runs JupyterLab, its tunnel is parked at an edge, its control plane is there.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING

import msgspec
import psutil

from bench.agents import agent
from bench.disk import scratch
from bench.doors import open_edge
from bench.lab import lab
from bench.results import Bar, Findings, table
from bench.specs import new_session_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.agents import Agent
    from common.messages import StatusReport

AGENT = "agent"
TOOL = "JupyterLab, for comparison"
RSS_MB_MAX = 100.0
CPU_PERCENT_MAX = 0.5

_SETTLE_SECONDS = 15.0  # JupyterLab loads more after its first answer
_WATCH_SECONDS_MIN = 60.0  # CPU time is counted in steps of 10 ms: 0.02 %
_DISK_BYTES_MAX = 4_000_000_000
_BILLION = 1_000_000_000
_MEGA = 1_000_000


@dataclass(frozen=True, slots=True)
class Cost:
    """What some processes take. `pss` counts a page that n processes share as its nth part."""

    processes: int
    rss_mb: float
    pss_mb: float
    cpu_percent: float
    wakeups_per_second: float


@dataclass(frozen=True, slots=True)
class _Counters:
    cpu_seconds: float
    wakeups: int


async def run(rounds: int, seconds: float, say: Callable[[str], None]) -> Findings:
    """Watch for `rounds` times `seconds`, a minute at least."""
    watch_seconds = max(_WATCH_SECONDS_MIN, rounds * seconds)
    async with AsyncExitStack() as stack:
        folder = await stack.enter_async_context(scratch(_DISK_BYTES_MAX))
        tool = lab()
        edge = await open_edge(folder, new_session_id(), tool.port, stack)
        spec = msgspec.structs.replace(edge.spec, tool=tool)
        one = await stack.enter_async_context(agent(folder, spec))
        await one.running()
        await one.control_plane.reported(_is_parked)
        await asyncio.sleep(_SETTLE_SECONDS)
        say(f"watching for {watch_seconds:.0f} s")
        costs = await _watch(one, watch_seconds)
        await one.stop()
    return Findings(
        "An idle session's agent", sections(costs, watch_seconds), bars(costs), why(costs)
    )


def _is_parked(report: StatusReport) -> bool:
    return report.tunnel is not None and report.tunnel.connected


async def _watch(one: Agent, seconds: float) -> dict[str, Cost]:
    groups = _groups(one)
    before = {name: _counters(group) for name, group in groups.items()}
    begun_ns = monotonic_ns()
    await asyncio.sleep(seconds)
    elapsed = (monotonic_ns() - begun_ns) / _BILLION
    after = {name: _counters(group) for name, group in groups.items()}
    one.process.must_run()
    return {
        name: _cost(group, before[name], after[name], elapsed) for name, group in groups.items()
    }


def _groups(one: Agent) -> dict[str, list[psutil.Process]]:
    """Return the processes by what they are: the agent, each of its helpers, the tool."""
    root = psutil.Process(one.process.pid)
    first = psutil.Process(one.first_process())
    helpers = {child.name(): [child] for child in root.children()}
    return {AGENT: [root], **helpers, TOOL: first.children(recursive=True)}


def _counters(group: list[psutil.Process]) -> _Counters:
    times = [process.cpu_times() for process in group]
    return _Counters(
        cpu_seconds=sum(each.user + each.system for each in times),
        wakeups=sum(_wakeups(process.pid) for process in group),
    )


def _wakeups(pid: int) -> int:
    """Return how often its threads have begun to wait; each wait ends with a wakeup."""
    return sum(
        int(line.split()[1])
        for status in Path(f"/proc/{pid}/task").glob("*/status")
        for line in _lines(status)
        if line.startswith("voluntary_ctxt_switches:")
    )


def _lines(path: Path) -> Iterator[str]:
    yield from path.read_text(encoding="ascii", errors="replace").splitlines()


def _cost(group: list[psutil.Process], before: _Counters, after: _Counters, seconds: float) -> Cost:
    memory = [process.memory_full_info() for process in group]
    return Cost(
        processes=len(group),
        rss_mb=sum(each.rss for each in memory) / _MEGA,
        pss_mb=sum(each.pss for each in memory) / _MEGA,
        cpu_percent=100 * (after.cpu_seconds - before.cpu_seconds) / seconds,
        wakeups_per_second=(after.wakeups - before.wakeups) / seconds,
    )


# ── what it comes to; pure ───────────────────────────────────────────────────


def sections(costs: dict[str, Cost], watch_seconds: float) -> list[str]:
    """Return the section's paragraphs and tables."""
    return [
        f"A session with JupyterLab, nobody connected, watched for {watch_seconds:.0f} s. "
        "MB are 10⁶ bytes; PSS divides what processes share by their number. CPU is of one core.",
        table(
            ("processes", "number", "RSS MB", "PSS MB", "CPU %", "wakeups/s"),
            [
                _row("all of the agent's", ours(costs)),
                *(_row(f"`{name}`", cost) for name, cost in costs.items() if name != TOOL),
                _row(TOOL, costs[TOOL]),
            ],
        ),
    ]


def ours(costs: dict[str, Cost]) -> Cost:
    """Return the sum of everything but the tool."""
    all_ours = [cost for name, cost in costs.items() if name != TOOL]
    return Cost(
        processes=sum(each.processes for each in all_ours),
        rss_mb=sum(each.rss_mb for each in all_ours),
        pss_mb=sum(each.pss_mb for each in all_ours),
        cpu_percent=sum(each.cpu_percent for each in all_ours),
        wakeups_per_second=sum(each.wakeups_per_second for each in all_ours),
    )


def bars(costs: dict[str, Cost]) -> list[Bar]:
    """Return what was to be reached, and whether it was."""
    cost = ours(costs)
    return [
        Bar(
            f"at most {RSS_MB_MAX:g} MB resident in all of the agent's processes",
            f"{cost.rss_mb:.1f} MB",
            cost.rss_mb <= RSS_MB_MAX,
        ),
        Bar(
            f"at most {CPU_PERCENT_MAX:g} % of a core",
            f"{cost.cpu_percent:.2f} %",
            cost.cpu_percent <= CPU_PERCENT_MAX,
        ),
    ]


def why(costs: dict[str, Cost]) -> str:
    """Return what takes more than it should."""
    most = max((name for name in costs if name != TOOL), key=lambda name: costs[name].rss_mb)
    return f"Most of it is `{most}`, with {costs[most].rss_mb:.1f} MB."


def _row(name: str, cost: Cost) -> tuple[str, ...]:
    return (
        name,
        str(cost.processes),
        f"{cost.rss_mb:.1f}",
        f"{cost.pss_mb:.1f}",
        f"{cost.cpu_percent:.2f}",
        f"{cost.wakeups_per_second:.1f}",
    )
