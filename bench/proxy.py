"""Requests per second, and added latency at half load, beside nginx and configurable-http-proxy.

One round measures every door: wrk as fast as it goes, then a fixed rate of half that, through the
door and straight at the tool in turn; the difference of the two is what the door adds.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import pace, wrk
from bench.doors import DIRECT, NGINX, NODE, OURS, fixed_tool, open_doors
from bench.exchange import BODY_BYTES
from bench.processes import BenchError, CpuMeter
from bench.results import Bar, Findings, table
from bench.spread import Spread, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.doors import Door, Doors
    from bench.pace import Latency

CONNECTIONS = 16
_WARM_UP_SECONDS = 1.0  # node's compiler has seen everything by then
_LOAD_PART = 0.5

RATIOS_TO_NODE = (1.0, 3.0)  # what part 1 asks for, and what the design does
RATIO_TO_NGINX = 0.5
ADDED_P50_MS = 0.3
ADDED_P99_MS = 2.0


@dataclass(frozen=True, slots=True)
class Paced:
    """Latencies at one rate, straight and through a door."""

    rate: float
    straight: Latency
    through: Latency

    @property
    def added_p50_ms(self) -> float:
        return self.through.p50_ms - self.straight.p50_ms

    @property
    def added_p99_ms(self) -> float:
        return self.through.p99_ms - self.straight.p99_ms


@dataclass(frozen=True, slots=True)
class Sample:
    """One door in one round. CPU times are of the door's own processes, by name."""

    per_second: float
    cpu_microseconds: dict[str, float]
    paced: Paced | None


Samples = dict[str, list[Sample]]


async def run(rounds: int, seconds: float, say: Callable[[str], None]) -> Findings:
    """Measure every door in every round. Raises BenchError for any wrong response."""
    async with open_doors(fixed_tool) as doors:
        for door in doors.every:
            await _full_load(door, doors, _WARM_UP_SECONDS)
        samples: Samples = {door.name: [] for door in doors.every}
        for number, door in doors.interleaved(rounds):
            sample = await _sample(door, doors, seconds)
            samples[door.name].append(sample)
            say(f"round {number}/{rounds}  {door.name:24} {_in_short(sample)}")
    return Findings(
        "Requests through both hops", parts(samples, rounds, seconds), bars(samples), why(samples)
    )


async def _sample(door: Door, doors: Doors, seconds: float) -> Sample:
    per_second, cpu_microseconds = await _full_load(door, doors, seconds)
    if door is doors.direct:
        return Sample(per_second, cpu_microseconds, None)
    rate = min(per_second * _LOAD_PART, pace.RATE_MAX)
    straight, through = [
        await pace.measure(port, doors.visitor, rate=rate, seconds=seconds, connections=CONNECTIONS)
        for port in (doors.direct.port, door.port)
    ]
    return Sample(per_second, cpu_microseconds, Paced(rate, straight, through))


async def _full_load(door: Door, doors: Doors, seconds: float) -> tuple[float, dict[str, float]]:
    """Return requests per second, and microseconds of CPU per request by process."""
    meter = CpuMeter(door.processes)
    try:
        summary = await wrk.run(
            door.port, doors.visitor, seconds=seconds, connections=CONNECTIONS, folder=doors.folder
        )
    except BenchError as error:
        raise BenchError(f"{door.name}: {error}") from None
    return summary.per_second, meter.microseconds_each(summary.requests)


def _in_short(sample: Sample) -> str:
    added = ""
    if sample.paced is not None:
        added = f"  +{sample.paced.added_p50_ms:.2f} / +{sample.paced.added_p99_ms:.2f} ms"
    return f"{sample.per_second:7.0f} requests/s{added}"


# ── what it comes to; pure ───────────────────────────────────────────────────


def parts(samples: Samples, rounds: int, seconds: float) -> list[str]:
    """Return the section's paragraphs and tables."""
    per_second = _per_second(samples)
    return [
        f"{BODY_BYTES} byte responses on {CONNECTIONS} connections; medians of {rounds} rounds of "
        f"{seconds:g} s per step, in brackets least and most. Every response was checked. "
        "CPU is what the door's own processes used per request.",
        table(
            ("way in", "requests/s", "of nginx", "of configurable-http-proxy", "µs CPU a request"),
            [
                (
                    name,
                    _count(per_second[name]),
                    f"{per_second[name].median / per_second[NGINX].median:.2f}×",
                    f"{per_second[name].median / per_second[NODE].median:.2f}×",
                    _cpu(samples[name]),
                )
                for name in samples
            ],
        ),
        f"Latency at half of each door's own rate (at most {pace.RATE_MAX}/s, which is what the "
        "client can hold), counted from when a request was due:",
        table(
            ("way in", "rate", "p50 ms", "p99 ms", "added p50 ms", "added p99 ms"),
            [_latency_row(name, _paced(samples[name])) for name in samples if name != DIRECT],
        ),
    ]


def bars(samples: Samples) -> list[Bar]:
    """Return what was to be reached, and whether it was."""
    per_second = _per_second(samples)
    ours = per_second[OURS].median
    of_node, of_nginx = ours / per_second[NODE].median, ours / per_second[NGINX].median
    paced = _paced(samples[OURS])
    p50 = spread(each.added_p50_ms for each in paced).median
    p99 = spread(each.added_p99_ms for each in paced).median
    node_claim = "at least {:g}× configurable-http-proxy's rate"
    return [
        Bar(node_claim.format(least), f"{of_node:.2f}×", of_node >= least)
        for least in RATIOS_TO_NODE
    ] + [
        Bar(
            f"at least {RATIO_TO_NGINX:g}× nginx's rate",
            f"{of_nginx:.2f}×",
            of_nginx >= RATIO_TO_NGINX,
        ),
        Bar(f"at most {ADDED_P50_MS:g} ms added at p50", f"{p50:.2f} ms", p50 <= ADDED_P50_MS),
        Bar(f"at most {ADDED_P99_MS:g} ms added at p99", f"{p99:.2f} ms", p99 <= ADDED_P99_MS),
    ]


def why(samples: Samples) -> str:
    """Return what explains a rate below the bar."""
    return (
        f"A request costs {_cpu(samples[OURS])} µs of CPU in our two processes, "
        f"{_cpu(samples[NGINX])} in nginx and {_cpu(samples[NODE])} in configurable-http-proxy; "
        f"load, tool and door share {os.cpu_count()} cores."
    )


def _per_second(samples: Samples) -> dict[str, Spread]:
    return {name: spread(one.per_second for one in each) for name, each in samples.items()}


def _paced(samples: Sequence[Sample]) -> list[Paced]:
    return [sample.paced for sample in samples if sample.paced is not None]


def _cpu(samples: Sequence[Sample]) -> str:
    names = samples[0].cpu_microseconds
    medians = [spread(each.cpu_microseconds[name] for each in samples).median for name in names]
    return " + ".join(f"{median:.0f}" for median in medians) or "–"


def _latency_row(name: str, paced: Sequence[Paced]) -> tuple[str, ...]:
    return (
        name,
        f"{spread(each.rate for each in paced).median:.0f}/s",
        f"{spread(each.through.p50_ms for each in paced).median:.2f}",
        f"{spread(each.through.p99_ms for each in paced).median:.2f}",
        _milliseconds(spread(each.added_p50_ms for each in paced)),
        _milliseconds(spread(each.added_p99_ms for each in paced)),
    )


def _count(values: Spread) -> str:
    return f"{values.median:.0f} ({values.least:.0f}–{values.most:.0f})"


def _milliseconds(values: Spread) -> str:
    return f"{values.median:.2f} ({values.least:.2f}–{values.most:.2f})"
